"""Time until the prompt takes keys, and time of `--help`: `python -m tests.benchmarks.start_up`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.app.commands.charlie import CHARLIE, environment
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, attempted, limited, table
from tests.e2e.terminal import ctrl, terminal

ROUNDS = 9
PROMPT, HELP = "`charlie` to a ready prompt", "`charlie --help`"
PROMPT_SECONDS, HELP_SECONDS = 0.5, 0.25
LETTER = "\u1401"
"""A letter that appears nowhere else on the screen."""


def seconds_of(command: list[str], home: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment(home), timeout=60)
    return time.perf_counter() - began


def to_prompt(home: Path) -> float:
    """Seconds from the start of the program until a typed letter appears in its prompt."""
    began = time.perf_counter()
    with terminal(home) as shown:
        shown.until("Write a message")
        shown.press(LETTER)
        shown.until(LETTER)
        seconds = time.perf_counter() - began
        shown.press("\x7f")  # what is left in the prompt would be there at the next start
        shown.until("Write a message")
        shown.press(ctrl("q"))
        shown.until_end()
    return seconds


def rows(models: Models) -> list[Row]:
    rounds = 1 if models.short else ROUNDS
    return attempted(PROMPT, "", _prompt, rounds) + attempted(HELP, "", _help, rounds)


def _prompt(rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        to_prompt(Path(folder))  # the first start also makes the folders
        took = [to_prompt(Path(folder)) for _ in range(rounds)]
    case = f"median of {rounds}, worst {max(took):.2f} s"
    yield limited(PROMPT, case, statistics.median(took), PROMPT_SECONDS, "s")


def _help(rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        bare = [seconds_of([sys.executable, "-c", "pass"], Path(folder)) for _ in range(rounds)]
        took = [seconds_of([CHARLIE, "--help"], Path(folder)) for _ in range(rounds)]
    case = f"median of {rounds}; `python -c pass` {statistics.median(bare) * 1000:.0f} ms"
    yield limited(HELP, case, statistics.median(took), HELP_SECONDS, "s")


def main() -> None:
    with built(short=True) as models:  # no row uses them
        print(table(rows(replace(models, short=False))))


if __name__ == "__main__":
    main()
