"""The model factory: loads the model of a spec. It holds no state; its callers decide when to load."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Final, TypeVar

from core.errors import CancelledError, LoadFailedError, OutOfMemoryError
from core.llama.calls import Llama, ignore, never
from core.llama.embedding import EmbeddingModel
from core.llama.instruct import InstructModel
from core.llama.load_options import arguments, llama_class
from core.llama.log import llama_log
from core.llama.reranker import RerankerModel
from core.model_files.gguf import read_header
from core.model_files.spec import ModelSpec, check_role
from core.roles import Role

__all__ = ["EmbeddingModel", "InstructModel", "Model", "RerankerModel", "load", "load_as"]

Model = InstructModel | EmbeddingModel | RerankerModel
M = TypeVar("M", bound=Model)
MODELS: Final[dict[Role, type[Model]]] = {
    Role.INSTRUCT: InstructModel,
    Role.EMBEDDING: EmbeddingModel,
    Role.RERANKER: RerankerModel,
}
OUT_OF_MEMORY = re.compile("failed to allocate|unable to allocate|out of memory|failed to reserve", re.IGNORECASE)
"""Messages of llama.cpp's backends about failed allocations; ggml-backend.cpp, ggml-cuda.cu, llama-context.cpp."""
COPIED = re.compile(r"^load_tensors: +\S+(?<!_Mapped) model buffer size = +([\d.]+) MiB")
"""Weights that are not in the mapped file."""


def load(
    spec: ModelSpec,
    *,
    on_progress: Callable[[float], None] = ignore,
    cancelled: Callable[[], bool] = never,
) -> Model:
    """Load the model of a spec, of its role's class.

    Raises ModelFileError when the file is damaged or of another kind, LoadFailedError when llama.cpp cannot load
    it, CancelledError.
    """
    # Read again only from a changed file, since a large vocabulary takes long to skip.
    header = spec.header if spec.header.is_of(spec.path) else read_header(spec.path)
    check_role(header, spec.role)
    llama, copied = _load(spec, on_progress, cancelled)
    try:
        model = MODELS[spec.role](llama, spec)
    except BaseException:
        llama.close()  # the error's traceback would hold it
        raise
    model.copied_bytes = copied
    return model


def load_as(kind: type[M], spec: ModelSpec) -> M:
    """`load`, for a caller that knows the class."""
    model = load(spec)
    if isinstance(model, kind):
        return model
    model.close()
    raise TypeError(f"a spec of the role {spec.role} is no {kind.__name__}")


def _load(spec: ModelSpec, on_progress: Callable[[float], None], cancelled: Callable[[], bool]) -> tuple[Llama, int]:
    """The loaded model, and the bytes of its weights outside the mapped file."""
    if cancelled():
        raise CancelledError
    kind = llama_class(spec.role, on_progress, cancelled)
    with llama_log().listen(keep=b"model buffer size") as log:
        try:
            llama = kind(**arguments(spec))
            _check_adapter(llama)
        except (ValueError, RuntimeError, MemoryError, AssertionError, CancelledError) as error:
            # The error holds the frames of the failed constructor, and those hold the half-made model.
            traceback.clear_frames(error.__traceback__)
            if cancelled():
                raise CancelledError from error
            raise load_failure(spec, log.errors, error) from error
        copied = [found[1] for line in log.lines if (found := COPIED.search(line))]
    on_progress(1.0)
    return llama, round(sum(map(float, copied)) * 1024**2)


def _check_adapter(llama: Llama) -> None:
    """llama-cpp-python takes the null pointer of a refused LoRA for an adapter, which would end the process."""
    if llama.lora_path and not llama._lora_adapter:  # noqa: SLF001  # there is no public way to ask
        llama.close()
        raise RuntimeError("the LoRA was refused")


def load_failure(spec: ModelSpec, messages: list[str], error: Exception) -> LoadFailedError:
    """The error of a load that failed with these messages of llama.cpp."""
    reason = (messages[0] if messages else str(error)).rstrip(".")
    if isinstance(error, MemoryError) or any(OUT_OF_MEMORY.search(line) for line in messages):
        return OutOfMemoryError(
            f"Memory ran out while {spec.path.name} was loaded: {reason}.",
            "Close other programs, or choose a smaller context or another file.",
        )
    hint = "Charlie's version of llama.cpp may not support this model yet; choose another file."
    if "lora adapter" in reason:
        hint = f"Correct or remove {spec.role}.lora."
    return LoadFailedError(f"The model {spec.path.name} could not be loaded: {reason}.", hint)
