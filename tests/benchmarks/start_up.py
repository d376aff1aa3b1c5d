"""Time until a person can type, and `--help` beside a bare interpreter: `python -m tests.benchmarks.start_up`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.app.charlie import CHARLIE, environment
from tests.e2e.terminal import ctrl, terminal

ROUNDS = 7


def median_ms(command: list[str], home: Path) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment(home))
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def to_prompt(home: Path) -> float:
    """Seconds from the start of the program until its prompt is on the screen."""
    began = time.perf_counter()
    with terminal(home) as shown:
        shown.until("Say something")
        seconds = time.perf_counter() - began
        shown.press(ctrl("q"))
        shown.until_end()
    return seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        bare = median_ms([sys.executable, "-c", "pass"], home)
        help_ = median_ms([CHARLIE, "--help"], home)
        times = [to_prompt(home) for _ in range(ROUNDS)]
    print(f"python -c pass      {bare:5.0f} ms")
    print(f"charlie --help      {help_:5.0f} ms, {help_ / bare:.1f} times that")
    print(f"charlie to prompt   {statistics.median(times):5.2f} s in the median, {min(times):.2f} to {max(times):.2f}")


if __name__ == "__main__":
    main()
