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
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from core.errors import CharlieError
from core.files import write_atomically
from core.memory.readings import GPU, INTEGRATED_GPU, read_devices
from core.memory.types import Device
from core.model_files.gguf_types import BLOCKS, REPACKED
from core.paths import Paths

TYPES: Final = (0, 1, 30, 2, 8, 12, 13, 14, 23, 39)
"""F32, F16, BF16, Q4_0, Q8_0, Q4_K, Q5_K, Q6_K, IQ4_XS and MXFP4; any other is taken for the nearest in bytes."""
WIDTH, ROWS, EXPERTS, USED, TOKENS, ROUNDS, FILLED = 2048, 512, 8, 2, 64, 5, 0x3C
"""`FILLED` is each byte of the tensors: numbers near 1, whatever their type. The best round counts."""
LARGE = 24 * 1024**2
"""Bytes of each type; all are read in turn, so that no processor's cache holds them until the next round."""
BUSY = 0.5
"""The least share of a thread's rate that each of several has on an idle machine, where two may share a core."""
CPU, F32, I32 = 0, 0, 26
"""ggml-backend.h, enum ggml_backend_dev_type; ggml.h, enum ggml_type."""
Kernels = dict[Literal["one", "many", "experts"], dict[int, float]]
"""Weights per second that a device multiplies with one token, with each of many, and as experts; by tensor type."""


@dataclass(frozen=True, slots=True)
class Rates:
    """A machine's rates, its accelerators, and the shares of predicted prefill and decode that models reached."""

    machine: str
    cpu: Kernels
    gpu: Kernels | None
    devices: tuple[Device, ...]
    models: dict[str, tuple[float, float]]

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
    write_atomically(paths.speed, done.stdout)
    return FORM.validate_json(done.stdout)


def nearest(rates: dict[int, float], width: float) -> float:
    """The rate of the tensor type that is the nearest in bytes for each weight."""
    return rates[min(rates, key=lambda kind: abs(BLOCKS[kind][1] / BLOCKS[kind][0] - width))]


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

    function = getattr(libggml, f"ggml_{name}")
    function.restype = ctypes.c_void_p
    return function(*(ctypes.c_void_p(each) if isinstance(each, int) else each for each in arguments))


def _kernels(device: int) -> Kernels:
    """The rates of a device. Nothing is freed: the process ends."""
    backend, own = _call("backend_dev_init", device, None), _call("backend_dev_buffer_type", device)
    registry, address = _call("backend_dev_backend_reg", device), "backend_reg_get_proc_address"
    repacked = own  # a CPU keeps quantized weights in another order; see core.llama.load_options.AMX
    if extra := _call(address, registry, b"ggml_backend_dev_get_extra_bufts"):
        first = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(extra)(device)[0]
        if first and ctypes.string_at(_call("backend_buft_name", first)) == b"CPU_REPACK":
            repacked = first
    found: Kernels = {"one": {}, "many": {}, "experts": {}}
    for name, rates in found.items():
        graphs = [(kind, *_graph(name, kind, own, repacked if kind in REPACKED else own)) for kind in TYPES]
        threads = os.cpu_count() or 1  # as in a load; where others are busy, one thread tells more than several
        for used, share in ((threads, 1), (1, 1 if name == "one" else BUSY * threads)):
            if set_threads := _call(address, registry, b"ggml_backend_set_n_threads"):
                ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)(set_threads)(backend, used)
            for kind, graph, weights in graphs * ROUNDS:
                began = perf_counter()
                _call("backend_graph_compute", backend, graph)
                rates[kind] = max(rates.get(kind, 0), share * weights / (perf_counter() - began))
        rates.update(
            {kind: nearest(rates, size / block) for kind, (block, size) in BLOCKS.items() if kind not in TYPES}
        )
    return found


def _graph(name: str, kind: int, own: int, weights_in: int) -> tuple[int, int]:
    """One multiplication, and the number of its weights for all tokens."""
    block, size = BLOCKS[kind]
    experts, tokens = name == "experts", 1 if name == "one" else TOKENS
    rows = LARGE // (WIDTH // block * size) if name == "one" else ROWS
    matrices, context = (_call("init", _Init(1 << 18, None, True)) for _ in range(2))
    weights = _call("new_tensor_3d", matrices, kind, WIDTH, rows // 8 * 8, EXPERTS if experts else 1)
    inputs = _call("new_tensor_3d", context, F32, WIDTH, *((1, tokens) if experts else (tokens, 1)))
    chosen = _call("new_tensor_2d", context, I32, USED, tokens)
    operands = (weights, inputs, chosen) if experts else (weights, inputs)
    graph = _call("new_graph", context)
    _call("build_forward_expand", graph, _call("mul_mat_id" if experts else "mul_mat", context, *operands))
    for each, buffers in ((matrices, weights_in), (context, own)):
        _call("backend_buffer_clear", _call("backend_alloc_ctx_tensors_from_buft", each, buffers), FILLED)
    numbers = (ctypes.c_int32 * (USED * tokens))(
        *((token + at) % EXPERTS for token in range(tokens) for at in range(USED))
    )
    _call("backend_tensor_set", chosen, numbers, 0, ctypes.sizeof(numbers))
    return graph, WIDTH * rows * tokens * (USED if experts else 1)


if __name__ == "__main__":
    cpu, *gpus = (_call("backend_dev_by_type", kind) for kind in (CPU, GPU, INTEGRATED_GPU))
    gpu = next(filter(None, gpus), None)
    made = Rates(machine(), _kernels(cpu), _kernels(gpu) if gpu else None, read_devices(), {})
    print(FORM.dump_json(made).decode())
