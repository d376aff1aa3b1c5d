"""Compares ways to load a model file that is in the page cache: `python -m tests.benchmarks.load_modes`.

All ways take turns in one process; each loads a model, evaluates a prompt and decodes a reply.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.llama.calls import never
from core.llama.load_options import arguments, llama_class
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.roles import Role
from tests.benchmarks.models import built

WAYS: dict[str, dict[str, Any]] = {
    "mmap": {"use_mmap": True},
    "mmap, mlock": {"use_mmap": True, "use_mlock": True},
    "read": {"use_mmap": False},
}
ROUNDS, PROMPT, REPLY = 5, 512, 32


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of the load, the first token, a prompt, a reply, and the close."""

    load: float
    first: float
    prompt: float
    reply: float
    close: float

    @property
    def swap(self) -> float:
        return self.load + self.first + self.close


def measure(file: Path, way: dict[str, Any]) -> Timings:
    spec = default_spec(read_header(file))
    kind = llama_class(Role.INSTRUCT, lambda _: None, never)
    times = [time.perf_counter()]
    llama = kind(**arguments(spec) | way)
    for step in ([5], list(range(300, 300 + PROMPT)), *([300 + n] for n in range(REPLY))):
        times.append(time.perf_counter())
        llama.eval(step)
    times.append(time.perf_counter())
    llama.close()
    times.append(time.perf_counter())
    return Timings(
        times[1] - times[0], times[2] - times[1], times[3] - times[2], times[-2] - times[3], times[-1] - times[-2]
    )


def main() -> None:
    print("| model | way | load ms | first token ms | close ms | swap ms | prompt tok/s | reply tok/s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    with built(short=False) as models:
        for name, file in models.instruct.items():
            took: dict[str, list[Timings]] = {way: [] for way in WAYS}
            for _ in range(ROUNDS):
                for way, options in WAYS.items():
                    took[way].append(measure(file, options))
            for way, each in took.items():
                load, first, close, swap = (
                    statistics.median(getattr(t, part) for t in each) * 1000
                    for part in ("load", "first", "close", "swap")
                )
                prompt = PROMPT / statistics.median(t.prompt for t in each)
                reply = REPLY / statistics.median(t.reply for t in each)
                ms = f"{load:.0f} | {first:.1f} | {close:.0f} | {swap:.0f}"
                print(f"| {name} | {way} | {ms} | {prompt:,.0f} | {reply:,.1f} |")


if __name__ == "__main__":
    main()
