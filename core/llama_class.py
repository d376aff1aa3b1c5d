"""How a model is loaded, in one place, so that what is simulated is what is then done. Loads llama_cpp when called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import CancelledError
from core.footprint import MAX_UBATCH
from core.settings import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_cpp import Llama

    from core.model_files import ModelSpec

FLASH_ATTENTION_AUTO = -1
"""llama.h, enum llama_flash_attn_type. Without it the attention scores alone take heads · context · ubatch floats."""
AMX = b"AMX_INT8 = 1"
"""What llama.cpp says of a processor with AMX, for which it lays quantized weights out anew.

Compiled by GCC 12 its AMX code uses tiles that it has not configured, which ends the process with SIGILL (llama.cpp
#26954).
"""
KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
"""ggml.h, enum ggml_type."""


def arguments(spec: ModelSpec) -> dict[str, Any]:
    """What the `Llama` of a spec is made with."""
    whole = spec.role is not Role.INSTRUCT
    # An encoder sees all of a text at once, so a batch holds a whole context.
    batch = spec.context_length if whole else spec.batch
    return {
        "model_path": str(spec.path),
        "n_ctx": spec.context_length,
        "n_batch": batch,
        "n_ubatch": batch if whole else min(batch, MAX_UBATCH),
        "n_gpu_layers": spec.gpu_layers,
        "n_threads": spec.threads,
        "n_threads_batch": spec.threads,
        "use_mmap": spec.mmap,
        "type_k": KV_TYPES[spec.kv_type],
        "type_v": KV_TYPES[spec.kv_type],
        "embedding": whole,
        "pooling_type": _pooling(spec.pooling) if whole else _pooling(None),
        "verbose": False,
    }


def _pooling(name: str | None) -> int:
    import llama_cpp

    kinds: dict[str | None, int] = {
        None: llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED,
        "mean": llama_cpp.LLAMA_POOLING_TYPE_MEAN,
        "cls": llama_cpp.LLAMA_POOLING_TYPE_CLS,
        "last": llama_cpp.LLAMA_POOLING_TYPE_LAST,
        "rank": llama_cpp.LLAMA_POOLING_TYPE_RANK,
    }
    return kinds[name]


def llama_class(
    role: Role, on_progress: Callable[[float], None], cancelled: Callable[[], bool], *, simulated: bool = False
) -> type[Llama]:
    """A `Llama` with what its constructor has no arguments for.

    Its load reports its progress and can be stopped; flash attention is used wherever llama.cpp can; logits are
    kept of one token at a time, as nobody reads others. `simulated` allocates nothing.
    """
    import llama_cpp

    callback = _reporter(on_progress, cancelled)

    class OwnLlama(llama_cpp.Llama):
        _made = False

        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self._made = True

        @property
        def model_params(self) -> Any:
            return self._own_model_params

        @model_params.setter
        def model_params(self, params: Any) -> None:
            params.progress_callback = callback
            params.no_alloc = simulated
            params.use_extra_bufts = AMX not in llama_cpp.llama_print_system_info()
            self._own_model_params = params

        @property
        def context_params(self) -> Any:
            # Making the context cannot be stopped, and takes long where the KV cache is large.
            if not self._made and cancelled():
                raise CancelledError
            # On each reading, for the constructor sets its own idea of flash attention in between.
            self._own_context_params.flash_attn_type = FLASH_ATTENTION_AUTO
            return self._own_context_params

        @context_params.setter
        def context_params(self, params: Any) -> None:
            params.n_outputs_max = 1 if role is Role.INSTRUCT else 0
            self._own_context_params = params

        @property
        def metadata(self) -> dict[str, str]:
            if self._made:
                return self._own_metadata
            # The constructor would compile each template twice; ours is compiled once, in core/prompt.py.
            return {key: value for key, value in self._own_metadata.items() if "chat_template" not in key}

        @metadata.setter
        def metadata(self, values: dict[str, str]) -> None:
            self._own_metadata = values

    return OwnLlama


def _reporter(on_progress: Callable[[float], None], cancelled: Callable[[], bool]) -> Any:
    """llama.cpp's callback of a load, which stops it by returning false."""
    import llama_cpp

    def report(fraction: float, _: object) -> bool:
        on_progress(fraction)
        return not cancelled()

    return llama_cpp.llama_progress_callback(report)
