"""The model factory: pure functions from a spec to a loaded model. No state, and no opinion on when."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, assert_never

from core.embedder import EmbeddingModel
from core.errors import CancelledError, LoadFailedError, OutOfMemoryError
from core.gguf import Header, read_header
from core.instruct import InstructModel
from core.llama_class import arguments, llama_class
from core.llama_log import llama_log
from core.model_files import check_role
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

OUT_OF_MEMORY = re.compile("failed to allocate|unable to allocate|out of memory|failed to reserve", re.IGNORECASE)
"""How llama.cpp's backends say that an allocation failed; ggml-backend.cpp, ggml-cuda.cu, llama-context.cpp."""


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
    check_role(_header(spec), Role.INSTRUCT)
    return InstructModel(_load(spec, on_progress, cancelled), spec)


def load_embedding(
    spec: ModelSpec,
    *,
    on_progress: Callable[[float], None] = _no_progress,
    cancelled: Callable[[], bool] = never,
) -> EmbeddingModel:
    """Load an embedding model; raises as load_instruct does."""
    check_role(_header(spec), Role.EMBEDDING)
    return EmbeddingModel(_load(spec, on_progress, cancelled), spec)


def load_reranker(
    spec: ModelSpec,
    *,
    on_progress: Callable[[float], None] = _no_progress,
    cancelled: Callable[[], bool] = never,
) -> RerankerModel:
    """Load a reranker; raises as load_instruct does."""
    check_role(_header(spec), Role.RERANKER)
    return RerankerModel(_load(spec, on_progress, cancelled), spec)


def _header(spec: ModelSpec) -> Header:
    """What the file says now. A large vocabulary takes long to skip, so a file that is as it was is not read again."""
    return spec.header if spec.header.is_of(spec.path) else read_header(spec.path)


def _load(spec: ModelSpec, on_progress: Callable[[float], None], cancelled: Callable[[], bool]) -> Llama:
    if cancelled():
        raise CancelledError
    kind = llama_class(spec.role, on_progress, cancelled)
    with llama_log().listen() as log:
        try:
            llama = kind(**arguments(spec))
        except (ValueError, RuntimeError, MemoryError, AssertionError, CancelledError) as error:
            # The frames of the failed constructor hold the half-made model, and the error holds the frames.
            traceback.clear_frames(error.__traceback__)
            if cancelled():
                raise CancelledError from error
            raise _failure(spec, log.errors, error) from error
    on_progress(1.0)
    return llama


def _failure(spec: ModelSpec, said: list[str], error: Exception) -> LoadFailedError:
    reason = (said[0] if said else str(error)).rstrip(".")
    if isinstance(error, MemoryError) or any(OUT_OF_MEMORY.search(line) for line in said):
        return OutOfMemoryError(
            f"Memory ran out while {spec.path.name} was loaded: {reason}.",
            "Close other programs, or try a smaller context or another file.",
        )
    return LoadFailedError(
        f"The model {spec.path.name} could not be loaded: {reason}.",
        "Charlie's llama.cpp may not know this model yet; try another file.",
    )
