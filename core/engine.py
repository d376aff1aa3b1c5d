"""The model factory: pure functions from a spec to a loaded model. No state, and no opinion on when."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, assert_never

from core.embedder import EmbeddingModel
from core.errors import CancelledError, LoadFailedError
from core.gguf import read_header
from core.instruct import InstructModel
from core.model_files import check_role
from core.native import log as logger
from core.native import never
from core.reranker import RerankerModel
from core.settings import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_cpp import Llama

    from core.model_files import ModelSpec

__all__ = [
    "EmbeddingModel",
    "InstructModel",
    "Model",
    "RerankerModel",
    "load",
    "load_embedding",
    "load_instruct",
    "load_reranker",
]

Model = InstructModel | EmbeddingModel | RerankerModel

ERROR = 4
SOURCE_LEVELS = {3: logging.WARNING, ERROR: logging.ERROR}
"""ggml_log_level (ggml.h) to Python's; llama.cpp's information is for debugging."""
MAX_UBATCH = 512


def _no_progress(fraction: float) -> None:  # noqa: ARG001
    return


def load(
    spec: ModelSpec,
    *,
    on_progress: Callable[[float], None] = _no_progress,
    cancelled: Callable[[], bool] = never,
) -> Model:
    """Load the model of a spec, of the kind that its role asks for; raises as the functions below do."""
    match spec.role:
        case Role.INSTRUCT:
            return load_instruct(spec, on_progress=on_progress, cancelled=cancelled)
        case Role.EMBEDDING:
            return load_embedding(spec, on_progress=on_progress, cancelled=cancelled)
        case Role.RERANKER:
            return load_reranker(spec, on_progress=on_progress, cancelled=cancelled)
        case _:
            assert_never(spec.role)


def load_instruct(
    spec: ModelSpec,
    *,
    on_progress: Callable[[float], None] = _no_progress,
    cancelled: Callable[[], bool] = never,
) -> InstructModel:
    """Load a generating model.

    Raises ModelFileError when the file is damaged or of another kind, LoadFailedError when llama.cpp cannot load
    it, CancelledError.
    """
    check_role(read_header(spec.path), Role.INSTRUCT)
    llama = _load(spec, on_progress, cancelled, n_batch=spec.batch, n_ubatch=min(spec.batch, MAX_UBATCH))
    return InstructModel(llama, spec)


def load_embedding(
    spec: ModelSpec,
    *,
    on_progress: Callable[[float], None] = _no_progress,
    cancelled: Callable[[], bool] = never,
) -> EmbeddingModel:
    """Load an embedding model; raises as load_instruct does."""
    check_role(read_header(spec.path), Role.EMBEDDING)
    return EmbeddingModel(_load_encoder(spec, on_progress, cancelled), spec)


def load_reranker(
    spec: ModelSpec,
    *,
    on_progress: Callable[[float], None] = _no_progress,
    cancelled: Callable[[], bool] = never,
) -> RerankerModel:
    """Load a reranker; raises as load_instruct does."""
    check_role(read_header(spec.path), Role.RERANKER)
    return RerankerModel(_load_encoder(spec, on_progress, cancelled), spec)


def _load_encoder(spec: ModelSpec, on_progress: Callable[[float], None], cancelled: Callable[[], bool]) -> Llama:
    import llama_cpp

    pooling = {
        None: llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED,
        "mean": llama_cpp.LLAMA_POOLING_TYPE_MEAN,
        "cls": llama_cpp.LLAMA_POOLING_TYPE_CLS,
        "last": llama_cpp.LLAMA_POOLING_TYPE_LAST,
        "rank": llama_cpp.LLAMA_POOLING_TYPE_RANK,
    }[spec.pooling]
    # An encoder sees all of a text at once, so a batch holds a whole context.
    size = spec.context_length
    return _load(spec, on_progress, cancelled, n_batch=size, n_ubatch=size, embedding=True, pooling_type=pooling)


def _load(spec: ModelSpec, on_progress: Callable[[float], None], cancelled: Callable[[], bool], **kind: Any) -> Llama:
    if cancelled():
        raise CancelledError
    log = _llama_log()
    log.errors.clear()
    try:
        llama = _reporting_llama(on_progress, cancelled)(
            str(spec.path),
            n_ctx=spec.context_length,
            n_gpu_layers=spec.gpu_layers,
            n_threads=spec.threads,
            n_threads_batch=spec.threads,
            verbose=False,
            **kind,
        )
    except (ValueError, RuntimeError, MemoryError, AssertionError) as error:
        if cancelled():
            raise CancelledError from error
        reason = log.errors[0] if log.errors else str(error)
        raise LoadFailedError(
            f"The model {spec.path.name} could not be loaded: {reason.rstrip('.')}.",
            "Charlie's llama.cpp may not know this model yet, or memory ran out; try a smaller or another file.",
        ) from error
    on_progress(1.0)
    return llama


def _reporting_llama(on_progress: Callable[[float], None], cancelled: Callable[[], bool]) -> type[Llama]:
    """A `Llama` whose load reports its progress and can be stopped, which its constructor has no arguments for."""
    import llama_cpp

    def report(fraction: float, _: object) -> bool:
        on_progress(fraction)
        return not cancelled()

    callback = llama_cpp.llama_progress_callback(report)

    class ReportingLlama(llama_cpp.Llama):
        @property
        def model_params(self) -> Any:
            return self._params

        @model_params.setter
        def model_params(self, params: Any) -> None:
            params.progress_callback = callback
            self._params = params

    return ReportingLlama


class _Log:
    """Passes llama.cpp's log on to Python's, and keeps the first errors for the message of a failed load."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.callback: Any = None

    def write(self, level: int, text: bytes, _: object) -> None:
        line = text.decode("utf-8", "replace").strip()
        if not line:
            return
        logger.log(SOURCE_LEVELS.get(level, logging.DEBUG), "%s", line)
        if level == ERROR:
            # The function's name comes first, then what it says.
            self.errors.append((line.partition(": ")[2] or line).removeprefix("error loading model: "))


@cache
def _llama_log() -> _Log:
    """llama.cpp has one log for the process: it is redirected once, and the callback lives as long."""
    import llama_cpp

    log = _Log()
    log.callback = llama_cpp.llama_log_callback(log.write)
    llama_cpp.llama_log_set(log.callback, None)
    return log
