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
        return self.allocated + self.mapped

    @property
    def allocated(self) -> int:
        """Without the file pages, which are unmapped at once."""
        return self.own + sum(self.devices.values())

    def plus(self, more: Taken) -> Taken:
        """The sum, and never less than nothing of each."""
        both = self.devices | more.devices
        devices = {id_: max(0, self.devices.get(id_, 0) + more.devices.get(id_, 0)) for id_ in both}
        return Taken(max(0, self.own + more.own), max(0, self.mapped + more.mapped), devices)


NOTHING = Taken(0, 0, {})


def change(before: Memory, after: Memory) -> Taken:
    """The difference between two readings; what came back is below 0."""
    own = (after.process_rss - after.process_file) - (before.process_rss - before.process_file)
    free = {each.id: each.free for each in after.devices}
    devices = {each.id: each.free - free.get(each.id, each.free) for each in before.devices}
    return Taken(own, after.process_file - before.process_file, devices)


def taken(before: Memory, after: Memory) -> Taken:
    """The memory taken between two readings; a negative amount counts as 0."""
    return NOTHING.plus(change(before, after))


def trim() -> None:
    """Return freed memory to the system: glibc keeps freed buffers of up to 32 MB."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def await_return(now: Memory, expected: Taken) -> Memory:
    """Wait until most of what was allocated is back, at most BACK_SECONDS; returns the last reading.

    File pages are not waited for: the kernel may have dropped them long before.
    """
    deadline, size = time.monotonic() + BACK_SECONDS, expected.allocated
    while True:
        reading = read_memory()
        if size < NOISE or taken(reading, now).allocated >= BACK_SHARE * size or time.monotonic() > deadline:
            return reading
        time.sleep(0.02)
