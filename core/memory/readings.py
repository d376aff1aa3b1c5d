"""Reads RAM and VRAM, in bytes."""

from __future__ import annotations

import ctypes
import os
import re
import resource
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from core.memory.types import Device, Memory

GPU, INTEGRATED_GPU = 1, 2
"""ggml-backend.h, enum ggml_backend_dev_type."""
PRESSURE = Path("/proc/pressure/memory")
CGROUP_V2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))
CGROUP_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
"""The files of the limit and of the use, and the entries of memory.stat that count page cache."""


def read_memory() -> Memory:
    """RAM and VRAM now. Loads llama.cpp, which lists the devices: only the worker may call it."""
    return replace(read_ram(), devices=read_devices())


def read_ram() -> Memory:
    """RAM now, without devices: psutil's figure, or the remainder of a cgroup or of this process's ulimit.

    Cheap; loads no library besides.
    """
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for limit, used in _cgroups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), machine.total):
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    process = _process(os.getpid()).memory_info()
    for limit, used in _own_limits(process):
        available = min(available, max(0, limit - used))
    return Memory(
        total=total,
        available=available,
        process_rss=process.rss,
        process_file=getattr(process, "shared", 0),
        pressure=_pressure(PRESSURE),
    )


_process = lru_cache(maxsize=1)(psutil.Process)
"""Made once: psutil reads when the process began."""


def _own_limits(process: Any) -> list[tuple[int, int]]:
    """Limit and use of each ulimit on this process's allocations."""
    limits = [
        (resource.getrlimit(resource.RLIMIT_AS)[0], process.vms),
        (resource.getrlimit(resource.RLIMIT_DATA)[0], getattr(process, "data", 0)),
    ]
    return [(limit, used) for limit, used in limits if limit != resource.RLIM_INFINITY]


def _pressure(file: Path) -> float | None:
    found = re.search(r"^some avg10=([\d.]+)", _text(file))
    return float(found[1]) if found else None


def _cgroups(root: Path, membership: Path, total: int) -> list[tuple[int, int]]:
    """Limit and use of each cgroup (v2 or v1) of this process whose limit is below the machine's RAM.

    Page cache is not counted as use.
    """
    found: list[tuple[int, int]] = []
    for folder, (limit, used, cached) in _groups(root, _text(membership)):
        limit_bytes = _number(f"{folder}/{limit}")
        if limit_bytes is not None and limit_bytes < total:
            cache = sum(_statistic(f"{folder}/memory.stat", key) for key in cached)
            found.append((limit_bytes, max(0, (_number(f"{folder}/{used}") or 0) - cache)))
    return found


@lru_cache(maxsize=8)
def _groups(root: Path, membership: str) -> list[tuple[Path, tuple[str, str, tuple[str, str]]]]:
    """The folders of these groups and of those around them, and the names of their files."""
    found = []
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, names = (root, CGROUP_V2) if controllers == "" else (root / "memory", CGROUP_V1)
        group = base / path.lstrip("/")
        found += [(folder, names) for folder in (group, *group.parents) if folder.is_relative_to(base)]
    return found


def _text(path: str | Path) -> str:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # each reading opens a dozen files
            return file.readall().decode()
    except OSError:
        # Without readable cgroups the machine's memory is the limit.
        return ""


def _number(path: str) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _statistic(path: str, key: str) -> int:
    return next((int(line.split()[1]) for line in _text(path).splitlines() if line.startswith(key + " ")), 0)


def read_devices() -> tuple[Device, ...]:
    """The accelerators that llama.cpp can use. Loads llama.cpp: only the worker may call it."""
    devices: list[Device] = []
    for each in _properties():
        if each.type not in (GPU, INTEGRATED_GPU):
            continue
        id_, name = (text.decode("utf-8", "replace") for text in (each.name, each.description))
        unified = each.type == INTEGRATED_GPU or id_.startswith("Metal")
        word = "integrated GPU" if each.type == INTEGRATED_GPU else "GPU"
        nvml_free = _nvml_free(name, (each.device_id or b"").decode("ascii", "replace"))
        least = each.free if nvml_free is None else min(each.free, nvml_free)
        devices.append(Device(name, each.total, least, id_, word, unified))
    return tuple(devices)


class _Properties(ctypes.Structure):
    """The first fields of ggml_backend_dev_props (ggml-backend.h), and space for the others."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("free", ctypes.c_size_t),
        ("total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),  # the PCI bus id, such as 0000:01:00.0, or NULL
        ("rest", ctypes.c_char * 256),
    )


def _properties() -> Iterator[_Properties]:
    """The properties of llama.cpp's devices, the CPU included."""
    from llama_cpp._ggml import libggml as library

    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_get_props.restype = None
    library.ggml_backend_dev_get_props.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Properties)]
    for index in range(library.ggml_backend_dev_count()):
        properties = _Properties()
        library.ggml_backend_dev_get_props(library.ggml_backend_dev_get(index), ctypes.byref(properties))
        yield properties


class _Nvml(NamedTuple):
    name: str
    bus_id: str
    free: int


def _nvml_free(name: str, bus_id: str) -> int | None:
    """NVML's free bytes of the device at a bus id, else of the only device with that name."""
    found = _nvml()
    # NVML writes the PCI domain with eight digits, llama.cpp with four.
    at = [each for each in found if bus_id and each.bus_id.lower().endswith(bus_id.lower())]
    named = [each for each in found if each.name == name]
    same = at or (named if len(named) == 1 else [])
    return same[0].free if same else None


def _nvml() -> list[_Nvml]:
    """The machine's NVIDIA devices; none without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
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
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return []
