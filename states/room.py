"""Whether there is room for a model, the sentence when there is not, and whether memory has come back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from core.errors import MemoryRefusedError
from core.events import Device, Memory
from core.memory import Footprint, read_devices, read_ram

if TYPE_CHECKING:
    from core.model_files import ModelSpec
    from core.settings import MemorySettings

BACK_SECONDS = 5.0
BACK_SHARE = 0.75
"""After an unload this share of what the load took is waited for."""
NOISE = 32 * 1024**2
"""Bytes; a model that took less than this cannot be told from the allocator's own reserves."""
GIB = 1024**3


def read_memory() -> Memory:
    """RAM and VRAM now. Loads llama.cpp, whose devices it reads."""
    ram = read_ram()
    devices = tuple(Device(device.name, device.total, device.free) for device in read_devices())
    return Memory(ram.total, ram.available, ram.process_rss, devices)


def fits(need: Footprint, now: Memory, reserve: MemorySettings, given_back: int = 0) -> bool:
    """Whether `need` fits into what is free now less the reserves, once `given_back` bytes of RAM are free too."""
    if need.ram > now.available + given_back - reserve.ram_reserve:
        return False
    return need.vram <= _free_vram(now, reserve)


def _free_vram(now: Memory, reserve: MemorySettings) -> int:
    return sum(max(device.free - reserve.vram_reserve, 0) for device in now.devices) if now.devices else 0


def refuse(spec: ModelSpec, need: Footprint, now: Memory, reserve: MemorySettings) -> MemoryRefusedError:
    """The refusal, with every number."""
    sentence = (
        f"{spec.name} does not fit: it needs {_gib(need.ram)} of RAM, and of {_gib(now.available)} available "
        f"{_gib(reserve.ram_reserve)} are kept free"
    )
    if need.vram:
        sentence += f"; it needs {_gib(need.vram)} of VRAM, and {_gib(_free_vram(now, reserve))} are free"
    return MemoryRefusedError(
        sentence + ".",
        f"Close other programs, lower {spec.role}.context_length (now {spec.context_length:,}), "
        f"or choose a smaller model with `charlie models use {spec.role} FILE`.",
    )


def await_return(now: Memory, before_load: Memory, after_load: Memory) -> Memory:
    """Wait until most of what a load took is back, at most BACK_SECONDS; returns the last reading."""
    taken = after_load.process_rss - before_load.process_rss
    taken_vram = _vram_free(before_load) - _vram_free(after_load)
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        reading = read_memory()
        ram_back = taken < NOISE or now.process_rss - reading.process_rss >= BACK_SHARE * taken
        vram_back = taken_vram < NOISE or _vram_free(reading) - _vram_free(now) >= BACK_SHARE * taken_vram
        if (ram_back and vram_back) or time.monotonic() > deadline:
            return reading
        time.sleep(0.02)


def _vram_free(reading: Memory) -> int:
    return sum(device.free for device in reading.devices)


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GB"
