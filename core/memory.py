"""RAM and VRAM as they are now, in bytes."""

from __future__ import annotations

import ctypes
import re
import resource
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psutil

DeviceKind = Literal["GPU", "integrated GPU"]
GPU, INTEGRATED_GPU = 1, 2
"""ggml-backend.h, enum ggml_backend_dev_type."""


@dataclass(frozen=True, slots=True)
class RamReading:
    """RAM now: of the machine, or of the container where that has less."""

    total: int
    available: int
    process_rss: int
    process_file: int
    """The part of `process_rss` that is backed by files, such as mapped weights: it can be dropped and read again."""
    pressure: float | None
    """Per cent of the last ten seconds in which something waited for memory (Linux PSI); None where nobody counts."""


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """An accelerator's memory now."""

    id: str
    """As llama.cpp calls it: CUDA0."""
    name: str
    total: int
    free: int
    kind: DeviceKind
    unified: bool
    """Whether its memory is the machine's RAM, as Apple's is: what it takes is missing there too."""


def read_ram() -> RamReading:
    """RAM as psutil reads it, or what a cgroup or a limit of this process (ulimit) leaves. Cheap; loads nothing."""
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for limit, used in _cgroups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), machine.total):
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    process = psutil.Process().memory_info()
    for limit, used in _own_limits(process):
        available = min(available, max(0, limit - used))
    return RamReading(total, available, process.rss, getattr(process, "shared", 0), _pressure(PRESSURE))


def _own_limits(process: Any) -> list[tuple[int, int]]:
    """Limit and use of what this process may allocate, where it is limited."""
    limits = [
        (resource.getrlimit(resource.RLIMIT_AS)[0], process.vms),
        (resource.getrlimit(resource.RLIMIT_DATA)[0], getattr(process, "data", 0)),
    ]
    return [(limit, used) for limit, used in limits if limit != resource.RLIM_INFINITY]


def _pressure(file: Path) -> float | None:
    found = re.search(r"^some avg10=([\d.]+)", _text(file))
    return float(found[1]) if found else None


def _cgroups(root: Path, membership: Path, total: int) -> list[tuple[int, int]]:
    """Limit and use of every cgroup that this process is in, from v2 or v1, and that has less than the machine.

    Page cache does not count as use.
    """
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
            limit, used, cached = names
            limit_bytes = _number(folder / limit)
            if limit_bytes is not None and limit_bytes < total:
                cache = sum(_statistic(folder / "memory.stat", key) for key in cached)
                found.append((limit_bytes, max(0, (_number(folder / used) or 0) - cache)))
    return found


PRESSURE = Path("/proc/pressure/memory")
V2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))


def _text(path: Path) -> str:
    try:
        with path.open("rb", buffering=0) as file:  # a dozen of them at each reading, so without layers in between
            return file.readall().decode()
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

    Of NVIDIA's, NVML is asked too, and the smaller free number counts.
    """
    from llama_cpp._ggml import libggml

    library = _typed(libggml)
    readings: list[DeviceReading] = []
    for index in range(library.ggml_backend_dev_count()):
        device = library.ggml_backend_dev_get(index)
        kind = library.ggml_backend_dev_type(device)
        if kind not in (GPU, INTEGRATED_GPU):
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        id_ = library.ggml_backend_dev_name(device).decode("utf-8", "replace")
        name = library.ggml_backend_dev_description(device).decode("utf-8", "replace")
        unified = kind == INTEGRATED_GPU or id_.startswith("Metal")
        word: DeviceKind = "integrated GPU" if kind == INTEGRATED_GPU else "GPU"
        reading = DeviceReading(id_, name, total.value, free.value, word, unified)
        second = _nvml_free(name, _bus_id(library, device))
        readings.append(reading if second is None else replace(reading, free=min(reading.free, second)))
    return tuple(readings)


class _Properties(ctypes.Structure):
    """The beginning of ggml_backend_dev_props (ggml-backend.h), with room for what follows."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("free", ctypes.c_size_t),
        ("total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("rest", ctypes.c_char * 256),
    )


def _bus_id(library: Any, device: Any) -> str:
    """The device's PCI bus id, such as 0000:01:00.0; empty where it has none."""
    properties = _Properties()
    library.ggml_backend_dev_get_props(device, ctypes.byref(properties))
    return (properties.device_id or b"").decode("ascii", "replace")


@cache
def _typed(library: Any) -> Any:
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    for text in (library.ggml_backend_dev_name, library.ggml_backend_dev_description):
        text.argtypes = [ctypes.c_void_p]
        text.restype = ctypes.c_char_p
    size = ctypes.POINTER(ctypes.c_size_t)
    library.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size, size]
    library.ggml_backend_dev_memory.restype = None
    library.ggml_backend_dev_get_props.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Properties)]
    library.ggml_backend_dev_get_props.restype = None
    return library


@dataclass(frozen=True, slots=True)
class _Nvml:
    name: str
    bus_id: str
    free: int


def _nvml_free(name: str, bus_id: str) -> int | None:
    """Free bytes by NVML of the device at a bus id, or else of the only one of that name."""
    found = _nvml()
    # NVML writes the domain with eight digits, others with four.
    at = [each for each in found if bus_id and each.bus_id.lower().endswith(bus_id.lower())]
    named = [each for each in found if each.name == name]
    same = at or (named if len(named) == 1 else [])
    return same[0].free if same else None


def _nvml() -> list[_Nvml]:
    """The NVIDIA devices of the machine; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
        return [
            _Nvml(
                str(pynvml.nvmlDeviceGetName(each)),
                str(pynvml.nvmlDeviceGetPciInfo(each).busId),
                int(pynvml.nvmlDeviceGetMemoryInfo(each).free),
            )
            for each in handles
        ]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
