"""Measures speed, in one table: `make bench`, or `python -m tests.benchmarks [--short] [--write]`.

`--short` only checks that each measurement works and that its full parameters fit its model; its figures mean nothing.
`--write` updates README.md in this folder and its chart. The exit status is 1 if a measurement failed.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.benchmarks import (
    cancel,
    embedding,
    enqueue,
    first_token,
    keys,
    return_time,
    search,
    start_up,
    swap_time,
    throughput,
)
from tests.benchmarks.chart import draw
from tests.benchmarks.models import Models, built
from tests.benchmarks.peers import PEERS, install_peer, installed
from tests.benchmarks.table import Row, attempted, table
from tests.waiting import time_limit

MEASUREMENTS = (throughput, first_token, swap_time, return_time, cancel, embedding, search, enqueue, keys, start_up)
LIMIT_SECONDS = 900.0
"""A measurement that takes longer hangs; the longest one needs some minutes."""
README = Path(__file__).with_name("README.md")
CHART = README.with_name("speed.svg")
SECTION = re.compile(r"(<!-- bench -->\n).*(<!-- /bench -->)", re.DOTALL)


def measure(models: Models) -> list[Row]:
    """Every row, failed ones included. Reports its progress on stderr."""
    found: list[Row] = []
    for number, each in enumerate(MEASUREMENTS, start=1):
        name = each.__name__.rpartition(".")[2]
        print(f"[{number}/{len(MEASUREMENTS)}] {name} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        with time_limit(LIMIT_SECONDS):
            rows = attempted(name, "", each.rows, models)
        print(*rows, f"{time.monotonic() - began:.0f} s", sep="\n", file=sys.stderr, flush=True)
        found += rows
    return found


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


def main() -> int:
    short = "--short" in sys.argv
    peers = PEERS if not short or "--peers" in sys.argv else ()
    rows = [row for name in peers for row in attempted("installation", name, _install, name)]
    with built(short=short) as models:
        rows += measure(models)
    missed = [row for row in rows if not row.met]
    failed = [row for row in rows if row.failed]
    met = f"{len(rows) - len(missed)} of {len(rows)} measures are met" + (f", {len(failed)} failed." if failed else ".")
    text = f"{machine()}\n\n{table(rows)}\n\n{met}\n"
    print(text)
    if "--write" in sys.argv:
        draw(rows, CHART)
        section = f"{text}\n![Each measure as a share of its limit]({CHART.name})\n"
        README.write_text(SECTION.sub(lambda found: found[1] + section + found[2], README.read_text()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
