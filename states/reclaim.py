"""Memory taken between two readings, and the wait for its return after an unload."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass

from core.memory.readings import read_memory
from core.memory.types import BACK_SHARE, NOISE, Memory

BACK_SECONDS = 5.0
"""The longest wait of an unload for the memory to come back."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes that this process took between two readings: own RAM, mapped file pages, and memory of each device."""

    own: int
    mapped: int
    devices: dict[str, int]

    @property
    def total(self) -> int:
        return self.own + self.mapped + sum(self.devices.values())


def taken(before: Memory, after: Memory) -> Taken:
    """The memory taken between two readings; a negative amount counts as 0."""
    own = (after.process_rss - after.process_file) - (before.process_rss - before.process_file)
    free = {each.id: each.free for each in after.devices}
    devices = {each.id: max(0, each.free - free.get(each.id, each.free)) for each in before.devices}
    return Taken(max(0, own), max(0, after.process_file - before.process_file), devices)


def trim() -> None:
    """Return freed memory to the system: glibc keeps freed buffers of up to 32 MB."""
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
