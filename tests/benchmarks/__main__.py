"""Measures speed, in one table: `make bench`, or `python -m tests.benchmarks [--short] [--write] [--rounds N]`.

All measures run once. Then those run again, up to N times in all (5 by default), of which a row's spread is 5% or more
and its figure is more than half of its limit: first the one nearest to its limit, and only while there is time, so that
all of it takes less than half an hour. Of several rounds the median is shown.

`--short` only checks that each measurement works and that its full parameters fit its model; its figures mean nothing,
and other programs are installed and measured only with `--peers`. `--write` updates README.md in this folder and its
chart. The exit status is 1 if a measurement failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import psutil

from tests.benchmarks import (
    busy,
    cancel,
    depth,
    embedding,
    enqueue,
    first_token,
    footprints,
    keys,
    return_time,
    search,
    speculation,
    start_up,
    swap_time,
    throughput,
    together,
)
from tests.benchmarks.chart import draw
from tests.benchmarks.models import Models, built
from tests.benchmarks.peers import PEERS, install_peer, installed
from tests.benchmarks.table import ROUNDS, Row, attempted, doubt, median_rows, table
from tests.waiting import time_limit

MEASUREMENTS = (
    throughput, busy, depth, first_token, swap_time, return_time, together, speculation, cancel, embedding, search,
    enqueue, keys, start_up, footprints,
)  # fmt: skip
LIMIT_SECONDS = 900.0
"""A measurement that takes longer hangs; the longest one needs some minutes."""
SECONDS = 27 * 60.0
"""No further round begins that would end later than so long after the start."""
LOOK_SECONDS = 0.5
"""Over which the busy share of the machine is read before and after a round."""
LOADS = (
    "| measure | round | seconds | load average before | after | busy before | after |\n"
    "|---|---:|---:|---:|---:|---:|---:|"
)
README = Path(__file__).with_name("README.md")
CHART = README.with_name("speed.svg")
SECTION = re.compile(r"(<!-- bench -->\n).*(<!-- /bench -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Load:
    """What the machine does without the measurement: load average of a minute, and the busy percent of all cores."""

    average: float
    busy: float


def look() -> Load:
    return Load(os.getloadavg()[0], psutil.cpu_percent(LOOK_SECONDS))


@dataclass(slots=True)
class Measurement:
    """The rounds of one module."""

    module: ModuleType
    rounds: list[list[Row]] = field(default_factory=list)
    seconds: float = 0.0
    """Of the last round."""
    loads: list[str] = field(default_factory=list)
    """A line for each round."""

    @property
    def name(self) -> str:
        return self.module.__name__.rpartition(".")[2]

    @property
    def rows(self) -> list[Row]:
        return median_rows(self.rounds)

    def measure(self, models: Models) -> None:
        """One more round. Reports its rows on stderr."""
        print(f"{self.name}, round {len(self.rounds) + 1} …", file=sys.stderr, flush=True)
        before, began = look(), time.monotonic()
        with time_limit(LIMIT_SECONDS):
            self.rounds.append(attempted(self.name, "", self.module.rows, models))
        self.seconds = time.monotonic() - began
        after = look()
        figures = f"{before.average:.2f} | {after.average:.2f} | {before.busy:.0f}% | {after.busy:.0f}%"
        self.loads.append(f"| {self.name} | {len(self.rounds)} | {self.seconds:.0f} | {figures} |")
        print(*self.rounds[-1], self.loads[-1], sep="\n", file=sys.stderr, flush=True)


def measure(models: Models, rounds: int, seconds: float) -> list[Measurement]:
    """All measurements, each with one round at least, and more while there is time."""
    end = time.monotonic() + seconds
    every = [Measurement(module) for module in MEASUREMENTS]
    for each in every:
        each.measure(models)
    while again := next_of(every, rounds, end - time.monotonic()):
        again.measure(models)
    return every


def next_of(every: list[Measurement], rounds: int, seconds: float) -> Measurement | None:
    """Of the measurements with a row in doubt that fit into the time, one with the fewest rounds, nearest its limit."""
    unsettled = [
        each
        for each in every
        if len(each.rounds) < rounds and each.seconds < seconds and not all(row.settled for row in each.rows)
    ]
    return min(unsettled, key=lambda each: (len(each.rounds), doubt(each.rows)), default=None)


def machine() -> str:
    """Hardware, versions, peers and date of the figures."""
    info = Path("/proc/cpuinfo")
    processor = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return (
        f"{os.cpu_count()} cores of {processor[1] if processor else platform.machine()}, "
        f"{psutil.virtual_memory().total / 1024**3:.0f} GB of RAM, {platform.system()}, "
        f"Python {platform.python_version()}, llama-cpp-python {version('llama-cpp-python')}; "
        f"peers: {', '.join(installed()) or 'none'}. {datetime.now(UTC):%Y-%m-%d}."
    )


def _install(peer: str) -> Iterator[Row]:
    """Yields no row; `attempted` adds one if the installation fails."""
    install_peer(peer)
    yield from ()


def asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option in ("--short", "--peers", "--write"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    return parser.parse_args(arguments)


def main() -> int:
    options = asked(sys.argv[1:])
    began = time.monotonic()
    peers = PEERS if options.peers or not options.short else ()
    rows = [row for name in peers for row in attempted("installation", name, _install, name)]
    with built(short=options.short) as models:
        every = measure(models, 1 if options.short else options.rounds, SECONDS - (time.monotonic() - began))
    rows += [row for each in every for row in each.rows]
    missed = [row for row in rows if not row.met]
    failed = [row for row in rows if row.failed]
    met = f"{len(rows) - len(missed)} of {len(rows)} measures are met" + (f", {len(failed)} failed." if failed else ".")
    minutes = (time.monotonic() - began) / 60
    text = f"{machine()} All of it took {minutes:.0f} minutes.\n\n{table(rows)}\n\n{met}\n"
    loads = "\n".join([LOADS, *(line for each in every for line in each.loads)])
    print(f"{text}\n{loads}")
    if options.write:
        draw(rows, CHART)
        section = f"{text}\n![Each measure as a share of its limit]({CHART.name})\n\n{loads}\n"
        README.write_text(SECTION.sub(lambda found: found[1] + section + found[2], README.read_text()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
