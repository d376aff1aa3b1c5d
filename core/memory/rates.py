"""How fast this machine multiplies matrices, measured once by llama.cpp's own kernels, and kept in a file.

`python -m core.memory.rates` measures in half a second and prints JSON: a process of its own, since it loads llama.cpp.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from core.errors import CharlieError
from core.files import write_atomically
from core.model_files.gguf_types import BLOCKS, REPACKED

if TYPE_CHECKING:
    from core.paths import Paths

TYPES: Final = (0, 1, 30, 2, 8, 12, 13, 14, 23, 39)
"""F32, F16, BF16, Q4_0, Q8_0, Q4_K, Q5_K, Q6_K, IQ4_XS, MXFP4; any other is taken for the one of the next size."""
WIDTH, ROWS, EXPERTS, USED, TOKENS, ROUNDS = 2048, 512, 8, 2, 64, 5
LARGE = 24 * 1024**2
"""Bytes of each type; all are read in turn, so that no processor's cache holds them until the next round. The best of
the rounds counts: other programs only slow one down."""
FILLED = 0x3C
"""Each byte of the tensors: numbers near 1, whatever their type."""
MODELS = 50
"""The most models whose real speed is kept."""
CPU, GPU, INTEGRATED_GPU = 0, 1, 2
"""ggml-backend.h, enum ggml_backend_dev_type."""
F32, I32 = 0, 26
"""ggml.h, enum ggml_type."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """Weights per second that a device multiplies, by tensor type: with one token, with each of many, as experts."""

    one: dict[int, float]
    many: dict[int, float]
    experts: dict[int, float]


@dataclass(frozen=True, slots=True)
class Rates:
    """A machine's rates, and by model the shares of its predicted prefill and decode that it reached."""

    machine: str
    cpu: Kernels
    gpu: Kernels | None = None
    models: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def reached(self) -> tuple[float, float]:
        """The medians of all models."""
        prefill, decode = zip(*self.models.values(), strict=True) if self.models else ((1.0,), (1.0,))
        return statistics.median(prefill), statistics.median(decode)


FORM: Final = TypeAdapter(Rates)


def known_rates(paths: Paths) -> Rates | None:
    """The rates, if this machine has been measured."""
    try:
        found = FORM.validate_json(paths.speed.read_bytes())
    except (OSError, ValueError):
        return None
    return found if found.machine == machine() else None


def rates(paths: Paths) -> Rates:
    """The rates of this machine; another process measures them where that has not been done. Raises CharlieError."""
    if found := known_rates(paths):
        return found
    command = [sys.executable, "-m", "core.memory.rates"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise CharlieError("The speed of this machine could not be measured.", "Try `charlie doctor`.")
    found = FORM.validate_json(done.stdout)
    write_atomically(paths.speed, FORM.dump_json(found))
    return found


def record(paths: Paths, model: str, prefill: float, decode: float) -> None:
    """Keep which shares of its uncorrected prediction a model has reached; nothing where there are no rates yet."""
    if found := known_rates(paths):
        others = {name: shares for name, shares in found.models.items() if name != model}
        latest = [*others.items(), (model, (prefill, decode))][-MODELS:]
        write_atomically(paths.speed, FORM.dump_json(replace(found, models=dict(latest))), durable=False)


def machine() -> str:
    """What the rates depend on."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, llama-cpp-python {version('llama-cpp-python')}"


class _Init(ctypes.Structure):
    """ggml.h, struct ggml_init_params."""

    _fields_ = (("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


def _call(name: str, *arguments: Any) -> Any:
    """A function of ggml; numbers and pointers fill a whole register each."""
    from llama_cpp._ggml import libggml

    function = getattr(libggml, name)
    function.restype = ctypes.c_void_p
    return function(*(ctypes.c_void_p(each) if isinstance(each, int) else each for each in arguments))


def _context() -> int:
    return int(_call("ggml_init", _Init(1 << 18, None, True)))


def _kernels(device: int) -> Kernels:
    """The rates of a device. Nothing is freed: the process ends."""
    backend, own = _call("ggml_backend_dev_init", device, None), _call("ggml_backend_dev_buffer_type", device)
    registry = _call("ggml_backend_dev_backend_reg", device)
    work = {
        name: [
            (kind, *_graph(name, kind, own, _repacked(device, registry) if kind in REPACKED else own)) for kind in TYPES
        ]
        for name in ("one", "many", "experts")
    }
    seconds: dict[tuple[str, int], float] = {}
    for name, graphs in work.items():
        # As in a load: decoding leaves one core free.
        threads = max(1, (os.cpu_count() or 1) - (name == "one"))
        if set_threads := _call("ggml_backend_reg_get_proc_address", registry, b"ggml_backend_set_n_threads"):
            ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)(set_threads)(backend, threads)
        for _ in range(ROUNDS):
            for kind, graph, weights in graphs:
                began = perf_counter()
                _call("ggml_backend_graph_compute", backend, graph)
                took = (perf_counter() - began) / weights
                seconds[name, kind] = min(took, seconds.get((name, kind), took))
    return Kernels(**{name: {kind: 1 / seconds[name, kind] for kind in TYPES} for name in work})


def _repacked(device: int, registry: int) -> int:
    """Where a CPU keeps quantized weights in another order (see core.llama.load_options.AMX); else its usual memory."""
    get = _call("ggml_backend_reg_get_proc_address", registry, b"ggml_backend_dev_get_extra_bufts")
    own = int(_call("ggml_backend_dev_buffer_type", device))
    if not get:
        return own
    first = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(get)(device)[0]
    return first if first and ctypes.string_at(_call("ggml_backend_buft_name", first)) == b"CPU_REPACK" else own


def _graph(name: str, kind: int, own: int, weights_in: int) -> tuple[int, int]:
    """One multiplication, and the number of weights times tokens."""
    block, size = BLOCKS[kind]
    rows = LARGE // (WIDTH // block * size) // ROWS * ROWS if name == "one" else ROWS
    tokens = 1 if name == "one" else TOKENS
    matrices, context, experts = _context(), _context(), name == "experts"
    tensor = "ggml_new_tensor_3d"
    weights = _call(tensor, matrices, kind, WIDTH, rows, EXPERTS if experts else 1)
    inputs = _call(tensor, context, F32, WIDTH, 1 if experts else tokens, tokens if experts else 1)
    if experts:
        chosen = _call("ggml_new_tensor_2d", context, I32, USED, TOKENS)
        product = _call("ggml_mul_mat_id", context, weights, inputs, chosen)
    else:
        product = _call("ggml_mul_mat", context, weights, inputs)
    for each, buffers in ((matrices, weights_in), (context, own)):
        allocated = _call("ggml_backend_alloc_ctx_tensors_from_buft", each, buffers)
        _call("ggml_backend_buffer_clear", allocated, FILLED)
    if experts:
        numbers = [(token + place) % EXPERTS for token in range(TOKENS) for place in range(USED)]
        _call("ggml_backend_tensor_set", chosen, (ctypes.c_int32 * len(numbers))(*numbers), 0, 4 * len(numbers))
    graph = _call("ggml_new_graph", context)
    _call("ggml_build_forward_expand", graph, product)
    return graph, WIDTH * rows * tokens * (USED if name == "experts" else 1)


if __name__ == "__main__":
    gpu = _call("ggml_backend_dev_by_type", GPU) or _call("ggml_backend_dev_by_type", INTEGRATED_GPU)
    cpu = _kernels(_call("ggml_backend_dev_by_type", CPU))
    print(FORM.dump_json(Rates(machine(), cpu, _kernels(gpu) if gpu else None)).decode())
