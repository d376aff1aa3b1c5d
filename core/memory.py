"""RAM and VRAM as they are now, and an estimate of what a model will take. All in bytes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from core.gguf import Header

GPU_KINDS = (1, 2)
"""GPU and integrated GPU; ggml-backend.h, enum ggml_backend_dev_type."""
GPU_LIBRARIES = ("cuda", "metal", "vulkan", "hip", "sycl", "musa", "cann", "opencl")
MAX_UBATCH = 512
OVERHEAD = 24 * 1024**2
"""What a context takes beside its buffers: batches, samplers, the vocabulary."""
KV_BYTES = 2
"""A value of the KV cache is an f16."""


@dataclass(frozen=True, slots=True)
class RamReading:
    """RAM now: of the machine, or of the container where that has less."""

    total: int
    available: int
    process_rss: int


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """An accelerator's memory now."""

    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a loaded model is expected to take, by part, and where."""

    weights: int
    kv_cache: int
    compute: int
    overhead: int
    ram: int
    vram: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.compute + self.overhead


def read_ram() -> RamReading:
    """RAM as psutil reads it, or the cgroup's limit where that is lower. Cheap; loads nothing."""
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for limit, used in _cgroups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")):
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return RamReading(total, available, psutil.Process().memory_info().rss)


def _cgroups(root: Path, membership: Path) -> list[tuple[int, int]]:
    """Limit and use of every cgroup that this process is in, from v2 or v1; page cache does not count as use."""
    found: list[tuple[int, int]] = []
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, names = (root, V2) if controllers == "" else (root / "memory", V1)
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(base):
                break
            limit, used, cache_key = (names[0], names[1], names[2])
            limit_bytes = _number(folder / limit)
            if limit_bytes is not None:
                used_bytes = (_number(folder / used) or 0) - _statistic(folder / "memory.stat", cache_key)
                found.append((limit_bytes, max(0, used_bytes)))
    return found


V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        # No cgroups here, or none that may be read: the machine's own memory is the limit.
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _statistic(path: Path, key: str) -> int:
    return next((int(line.split()[1]) for line in _text(path).splitlines() if line.startswith(key + " ")), 0)


def read_devices() -> tuple[DeviceReading, ...]:
    """The accelerators that llama.cpp can use. Loads llama.cpp: only the worker may call it.

    NVML is asked too where there is one device of that size only, and the smaller free number counts.
    """
    from llama_cpp._ggml import libggml

    library = _typed(libggml)
    readings: list[DeviceReading] = []
    for index in range(library.ggml_backend_dev_count()):
        device = library.ggml_backend_dev_get(index)
        if library.ggml_backend_dev_type(device) not in GPU_KINDS:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = library.ggml_backend_dev_description(device).decode("utf-8", "replace")
        readings.append(DeviceReading(name, total.value, free.value))
    return _with_nvml(tuple(readings))


@cache
def _typed(library: Any) -> Any:
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    library.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
    library.ggml_backend_dev_description.restype = ctypes.c_char_p
    size = ctypes.POINTER(ctypes.c_size_t)
    library.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size, size]
    library.ggml_backend_dev_memory.restype = None
    return library


def _with_nvml(readings: tuple[DeviceReading, ...]) -> tuple[DeviceReading, ...]:
    if not readings:
        return readings
    free = dict(_nvml())
    return tuple(
        DeviceReading(each.name, each.total, min(each.free, free.get(each.name, each.free))) for each in readings
    )


def _nvml() -> list[tuple[str, int]]:
    """Name and free bytes of NVIDIA devices, the fullest last; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
        found = [(str(pynvml.nvmlDeviceGetName(h)), int(pynvml.nvmlDeviceGetMemoryInfo(h).free)) for h in handles]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
    return sorted(found, key=lambda device: -device[1])


@cache
def has_accelerator() -> bool:
    """Whether layers can be offloaded: llama.cpp was built for a GPU, and there is one. Loads no llama.cpp."""
    found = find_spec("llama_cpp")
    if found is None or not found.submodule_search_locations:
        return False
    folder = Path(next(iter(found.submodule_search_locations))) / "lib"
    built_for = {kind for kind in GPU_LIBRARIES if any(folder.glob(f"*ggml-{kind}*"))}
    return bool(_nvml()) if built_for == {"cuda"} else bool(built_for)


def footprint(
    header: Header, *, context_length: int, gpu_layers: int, batch: int, offload: bool | None = None
) -> Footprint:
    """Estimate what a model takes, from its header alone.

    KV cache: 2 · layers · kv_heads · head_dim · context · 2 bytes (f16); encoders have none. The compute buffer is
    that of attention without flash attention, heads · ubatch · context f32 scores, or of the logits where they are
    larger, and some activations (llama.cpp, llm_graph_context::build_attn_mha). `gpu_layers` of all layers are in
    VRAM, -1 is all; with `offload` False, or where this machine has no accelerator, none.
    """
    whole = header.is_encoder or header.pooling is not None or header.is_reranker
    ubatch = context_length if whole else min(batch, MAX_UBATCH, context_length)
    head_dims = header.head_dim_key + header.head_dim_value
    kv_cache = 0 if header.is_encoder else header.layers * header.kv_heads * head_dims * context_length * KV_BYTES
    scores = header.heads * context_length
    logits = 0 if whole else header.vocab_size
    compute = ubatch * 4 * (max(scores, logits) + 8 * header.embedding_length)
    share = _share(header.layers, gpu_layers, has_accelerator() if offload is None else offload)
    moved = round((header.tensor_bytes + kv_cache) * share)
    stays = header.tensor_bytes + kv_cache - moved
    return Footprint(
        weights=header.tensor_bytes,
        kv_cache=kv_cache,
        compute=compute,
        overhead=OVERHEAD,
        ram=stays + OVERHEAD + (compute if share < 1 else 0),
        vram=moved + (compute if share > 0 else 0),
    )


def _share(layers: int, gpu_layers: int, offload: bool) -> float:
    if not offload or not layers:
        return 0.0
    return 1.0 if gpu_layers < 0 else min(1.0, gpu_layers / layers)
