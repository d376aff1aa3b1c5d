"""The arguments of every load, shared by the simulation and the real one. Loads llama_cpp when called."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from core.errors import CancelledError
from core.llama.calls import Llama, llama_cpp
from core.memory.footprint import MAX_OUTPUTS, MAX_UBATCH
from core.model_files.gguf import POOLING
from core.model_files.spec import ModelSpec
from core.roles import Role

FLASH_ATTENTION_AUTO = -1
"""llama.h, enum llama_flash_attn_type. Without it the attention scores take heads · context · ubatch floats."""
AMX = b"AMX_INT8 = 1"
"""Part of llama.cpp's system information on a CPU with AMX, for which it repacks quantized weights.

Compiled by GCC 12, its AMX code uses tiles before it configures them, which ends the process with SIGILL (llama.cpp
#26954).
"""
POOLING_UNSPECIFIED = -1
"""llama.h, enum llama_pooling_type; the other numbers are in the header of a file, too."""
POOLING_TYPES = {name: number for number, name in POOLING.items()}
SWA_FULL = False
"""Whether layers with a sliding window keep the whole context in memory. The last window is enough with checkpoints."""
KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
"""ggml.h, enum ggml_type."""


def arguments(spec: ModelSpec) -> dict[str, Any]:
    """The arguments of a spec's `Llama`."""
    encoder = spec.role is not Role.INSTRUCT
    # An encoder attends to the whole text at once, so a batch holds a whole context.
    batch = spec.context_length if encoder else spec.batch
    return {
        "model_path": str(spec.path),
        "lora_path": str(spec.lora.path) if spec.lora else None,
        "n_ctx": spec.context_length,
        "n_batch": batch,
        "n_ubatch": batch if encoder else min(batch, MAX_UBATCH),
        "n_gpu_layers": spec.gpu_layers,
        "n_threads": spec.threads,
        "n_threads_batch": spec.prefill_threads,
        "use_mmap": spec.mmap,
        "swa_full": SWA_FULL,
        "type_k": KV_TYPES[spec.kv_type],
        "type_v": KV_TYPES[spec.kv_type],
        "embedding": encoder,
        "offload_kqv": not spec.cpu_only,
        "op_offload": not spec.cpu_only,
        "cpu_only": spec.cpu_only,
        "pooling_type": POOLING_TYPES[spec.pooling] if encoder and spec.pooling else POOLING_UNSPECIFIED,
        "verbose": False,
    }


def _length(llama: Any) -> int:
    """The context length that was asked for, which `input_ids` has, too; llama.cpp rounds it up to 256 tokens."""
    return int(llama.context_params.n_ctx)


def llama_class(
    role: Role, on_progress: Callable[[float], None], cancelled: Callable[[], bool], *, simulated: bool = False
) -> type[Llama]:
    """A `Llama` with options for which its constructor has no arguments.

    The load reports its progress and can be cancelled; flash attention is used wherever llama.cpp can; only the logits
    of a few tokens are kept, as no caller reads more. `simulated` allocates nothing.
    """
    callback = _reporter(on_progress, cancelled)

    class OwnLlama(llama_cpp.Llama):
        _made = False
        n_ctx = _length

        def __init__(self, *, cpu_only: bool = False, **arguments: Any) -> None:
            self._devices = _devices(cpu_only)
            super().__init__(**arguments)
            self._made = True

        @property
        def model_params(self) -> Any:
            return self._own_model_params

        @model_params.setter
        def model_params(self, params: Any) -> None:
            params.progress_callback = callback
            params.no_alloc = simulated
            params.devices = ctypes.cast(self._devices, ctypes.c_void_p)
            params.use_extra_bufts = AMX not in llama_cpp.llama_print_system_info()
            self._own_model_params = params

        @property
        def context_params(self) -> Any:
            # Creating the context cannot be stopped, and takes long with a large KV cache.
            if not self._made and cancelled():
                raise CancelledError
            # At each read, since the constructor overwrites it.
            self._own_context_params.flash_attn_type = FLASH_ATTENTION_AUTO
            return self._own_context_params

        @context_params.setter
        def context_params(self, params: Any) -> None:
            params.n_outputs_max = MAX_OUTPUTS if role is Role.INSTRUCT else 0
            self._own_context_params = params

        @property
        def metadata(self) -> dict[str, str]:
            if self._made:
                return self._own_metadata
            # The constructor would compile each template twice; core/llama/chat_prompt.py compiles it once.
            return {key: value for key, value in self._own_metadata.items() if "chat_template" not in key}

        @metadata.setter
        def metadata(self, values: dict[str, str]) -> None:
            self._own_metadata = values

    return OwnLlama


def _devices(cpu_only: bool) -> Any:
    """The list of devices for a load, None for all. llama.cpp prepares each of them even for a model without layers."""
    return (ctypes.c_void_p * 1)(None) if cpu_only else None


def _reporter(on_progress: Callable[[float], None], cancelled: Callable[[], bool]) -> Any:
    """The callback of a load; returning false stops it."""

    def report(fraction: float, _: object) -> bool:
        on_progress(fraction)
        return not cancelled()

    return llama_cpp.llama_progress_callback(report)
