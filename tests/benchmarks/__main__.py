"""All that is measured of speed, in one table: `make bench`, or `python -m tests.benchmarks [--short] [--write]`.

`--short` only shows that each measurement works; its figures say nothing. `--write` renews README.md beside this file
and its chart.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
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
from tests.benchmarks.peers import install, installed
from tests.benchmarks.table import Row, table

MEASUREMENTS = (throughput, first_token, swap_time, return_time, cancel, embedding, search, enqueue, keys, start_up)
README = Path(__file__).with_name("README.md")
CHART = README.with_name("speed.svg")
SECTION = re.compile(r"(<!-- bench -->\n).*(<!-- /bench -->)", re.DOTALL)


def measure(models: Models) -> list[Row]:
    """Every row; says on stderr how far it is."""
    found: list[Row] = []
    for number, each in enumerate(MEASUREMENTS, start=1):
        name = each.__name__.rpartition(".")[2]
        print(f"[{number}/{len(MEASUREMENTS)}] {name} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        rows = each.rows(models)
        print(*rows, f"{time.monotonic() - began:.0f} s", sep="\n", file=sys.stderr, flush=True)
        found += rows
    return found


def machine() -> str:
    """What the figures are of."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return (
        f"{os.cpu_count()} cores of {found[1] if found else platform.machine()}, "
        f"{psutil.virtual_memory().total / 1024**3:.0f} GB of RAM, {platform.system()}, "
        f"Python {platform.python_version()}, llama-cpp-python {version('llama-cpp-python')}; "
        f"peers: {', '.join(installed()) or 'none'}. {datetime.now(UTC):%Y-%m-%d}."
    )


def main() -> None:
    short = "--short" in sys.argv
    if not short or "--peers" in sys.argv:
        install()
    with built(short=short) as models:
        rows = measure(models)
    missed = [row for row in rows if not row.met]
    text = f"{machine()}\n\n{table(rows)}\n\n{len(rows) - len(missed)} of {len(rows)} measures are met.\n"
    print(text)
    if "--write" in sys.argv:
        draw(rows, CHART)
        section = f"{text}\n![How much of what is allowed each measure takes]({CHART.name})\n"
        README.write_text(SECTION.sub(lambda found: found[1] + section + found[2], README.read_text()))


if __name__ == "__main__":
    main()
