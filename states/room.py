"""The memory as it is now, and whether it has come back after an unload."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass

from core.events import BACK_SHARE, NOISE, Device, Memory
from core.memory import read_devices, read_ram

BACK_SECONDS = 5.0
"""How long an unload waits for the memory to come back."""


def read_memory() -> Memory:
    """RAM and VRAM now. Loads llama.cpp, whose devices it reads."""
    ram = read_ram()
    devices = tuple(
        Device(each.name, each.total, each.free, each.id, each.kind, each.unified) for each in read_devices()
    )
    return Memory(ram.total, ram.available, ram.process_rss, devices, ram.process_file, ram.pressure)


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes that this process took between two readings: RAM of its own, file pages mapped in, and of each device."""

    own: int
    mapped: int
    devices: dict[str, int]

    @property
    def total(self) -> int:
        return self.own + self.mapped + sum(self.devices.values())


def taken(before: Memory, after: Memory) -> Taken:
    """What was taken from one reading to the other; what came back meanwhile counts as nothing taken."""
    own = (after.process_rss - after.process_file) - (before.process_rss - before.process_file)
    free = {each.id: each.free for each in after.devices}
    devices = {each.id: max(0, each.free - free.get(each.id, each.free)) for each in before.devices}
    return Taken(max(0, own), max(0, after.process_file - before.process_file), devices)


def trim() -> None:
    """Have the allocator hand back what was freed: glibc keeps freed buffers of up to 32 MB for later."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def await_return(now: Memory, expected: int) -> Memory:
    """Wait until most of `expected` bytes are back, at most BACK_SECONDS; returns the last reading."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        reading = read_memory()
        if expected < NOISE or taken(reading, now).total >= BACK_SHARE * expected or time.monotonic() > deadline:
            return reading
        time.sleep(0.02)
