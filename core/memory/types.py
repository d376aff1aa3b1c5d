"""A reading of the machine's memory, in bytes."""

from __future__ import annotations

from dataclasses import dataclass

BACK_SHARE = 0.75
"""An unload that returns less than this share of the load's memory is reported."""
NOISE = 32 * 1024**2
"""Bytes; a smaller model cannot be told from the allocator's own reserves."""


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator's memory; `free` is the smaller of llama.cpp's figure and NVML's."""

    name: str
    total: int
    free: int
    id: str = ""
    """llama.cpp's name for it, such as CUDA0."""
    kind: str = "GPU"
    unified: bool = False
    """Whether its memory is the machine's RAM, as on a Mac."""


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM and VRAM at one moment; RAM is the container's where that has less than the machine."""

    total: int = 0
    available: int = 0
    process_rss: int = 0
    """Resident memory of the process that read it."""
    devices: tuple[Device, ...] = ()
    process_file: int = 0
    """The part of `process_rss` that is backed by files, such as mapped weights: it can be dropped and read again."""
    pressure: float | None = None
    """Percentage of the last ten seconds in which a process waited for memory (Linux PSI); None without PSI."""

    @property
    def used(self) -> int:
        return self.total - self.available
