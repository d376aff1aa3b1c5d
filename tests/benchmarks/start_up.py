"""Time until a person can type, and `--help` beside a bare interpreter: `python -m tests.benchmarks.start_up`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.app.charlie import CHARLIE, environment
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, limited, table
from tests.e2e.terminal import ctrl, terminal

ROUNDS = 9
PROMPT_SECONDS, HELP_SECONDS = 1.0, 0.25
LETTER = "\u1401"
"""A letter that is nowhere else on the screen."""


def seconds_of(command: list[str], home: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment(home))
    return time.perf_counter() - began


def to_prompt(home: Path) -> float:
    """Seconds from the start of the program until what is typed into its prompt is on the screen."""
    began = time.perf_counter()
    with terminal(home) as shown:
        shown.until("Write a message")
        shown.press(LETTER)
        shown.until(LETTER)
        seconds = time.perf_counter() - began
        shown.press(ctrl("q"))
        shown.until_end()
    return seconds


def rows(models: Models) -> list[Row]:
    rounds = 1 if models.short else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        to_prompt(home)  # the first one ever also builds the starter models
        prompt = [to_prompt(home) for _ in range(rounds)]
        bare = [seconds_of([sys.executable, "-c", "pass"], home) for _ in range(rounds)]
        help_ = [seconds_of([CHARLIE, "--help"], home) for _ in range(rounds)]
    return [
        limited(
            "`charlie` to a prompt that takes keys", f"median of {rounds}, worst {max(prompt):.2f} s",
            statistics.median(prompt), PROMPT_SECONDS, "s",
        ),
        limited(
            "`charlie --help`", f"median of {rounds}; `python -c pass` {statistics.median(bare) * 1000:.0f} ms",
            statistics.median(help_), HELP_SECONDS, "s",
        ),
    ]  # fmt: skip


def main() -> None:
    with built(short=True) as models:  # none of them is used
        print(table(rows(replace(models, short=False))))


if __name__ == "__main__":
    main()
