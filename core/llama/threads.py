"""Chooses how many threads compute a token, by what the other programs of the machine leave free."""

from __future__ import annotations

import math
import os
from time import monotonic, process_time

import psutil

from core.llama.calls import Llama, llama_cpp

LOOK_SECONDS = 0.2
"""The shortest time between two readings of the machine's load. One reading takes a tenth of a millisecond."""
SHARE = 0.4
"""The part of a core that other programs may use before decoding leaves this core to them.

After each step of a layer the threads wait for the slowest. One that shares its core slows down all, by more than a
thread less does.
"""


class DecodingThreads:
    """The threads of one model's context: at most those that it was loaded with, at least one."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._looked = monotonic()
        self._used = _used_by_others()

    def begin(self) -> None:
        """Choose for a prompt: a load before it may have ended, so leave no more cores to others than before."""
        if monotonic() - self._looked >= LOOK_SECONDS:
            self._choose(at_least=int(llama_cpp.llama_n_threads_batch(self._llama.ctx)))
        else:  # too short to tell how busy the machine is
            self._looked, self._used = monotonic(), _used_by_others()

    def look(self) -> None:
        """Choose anew, by the time since the last reading. Cheap, so call it before each `llama_decode`."""
        if monotonic() - self._looked >= LOOK_SECONDS:
            self._choose(at_least=1)

    def _choose(self, at_least: int) -> None:
        now, used = monotonic(), _used_by_others()
        busy = (used - self._used) / (now - self._looked)
        self._looked, self._used = now, used
        free = max(at_least, (os.cpu_count() or 1) - max(0, math.ceil(busy - SHARE)))
        llama = self._llama
        chosen = min(llama.n_threads, free), min(llama.n_threads_batch, free)
        if chosen != (llama_cpp.llama_n_threads(llama.ctx), llama_cpp.llama_n_threads_batch(llama.ctx)):
            llama_cpp.llama_set_n_threads(llama.ctx, *chosen)


def _used_by_others() -> float:
    """Processor time of all other processes since the machine's start, in seconds."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0)) - process_time()
