"""Speed beside other busy programs ÷ the quiet speed: `python -m tests.benchmarks.busy`."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.charlie import TimedClient, must_fit, serving, words
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, at_least, attempted, table

ROUNDS, ROUNDS_SHORT = 2, 1
WORDS, TOKENS = 300, {"0.1 B": 160, "0.5 B": 60, "SmolLM2": 240}
LIMITS = {1: 0.75, 2: 0.5}
"""For so many busy processes."""
DECODE, PREFILL = "tokens per second beside busy processes ÷ quiet", "prefill beside busy processes ÷ quiet"
LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(100_000):\n        pass"


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many programs that each compute on one core, in sessions of their own, as programs of a desktop are."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP], start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def rows(models: Models) -> Iterator[Row]:
    for name, file in {**models.instruct, "SmolLM2": models.smollm2}.items():
        yield from attempted(DECODE, name, _beside, name, file, models)


def _beside(name: str, file: Path, models: Models) -> Iterator[Row]:
    must_fit(file, WORDS, TOKENS[name])
    count, rounds = (TOKENS[name] // 8, ROUNDS_SHORT) if models.short else (TOKENS[name], ROUNDS)
    speeds: dict[int, list[tuple[float, float]]] = {0: [], **{each: [] for each in LIMITS}}
    with serving(file) as charlie:
        _speeds(charlie, count, 0)
        for number in range(rounds):
            # In turns, so that all see the same load of the machine.
            for processes, found in speeds.items():
                with busy(processes):
                    found.append(_speeds(charlie, count, 1 + 3 * number + processes))
    for place, measure in enumerate((DECODE, PREFILL)):
        quiet, *beside = (statistics.median(pair[place] for pair in found) for found in speeds.values())
        for (processes, limit), speed in zip(LIMITS.items(), beside, strict=True):
            yield at_least(measure, f"{name}, {processes} busy", (speed, quiet), "tok/s", "quiet", limit)


def _speeds(charlie: TimedClient, count: int, seed: int) -> tuple[float, float]:
    """Of decoding, and of the prefill of a prompt that is new from its first word on."""
    stats = charlie.reply(words(WORDS, seed), count).stats
    fresh = stats["prompt_tokens"] - stats["reused_tokens"]
    return stats["tokens_per_second"], fresh / (stats["ttft_ms"] / 1000)


def main() -> None:
    with built(short="--short" in sys.argv) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
