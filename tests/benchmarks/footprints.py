"""Anonymous memory of the interface, and of the worker with nothing loaded: `python -m tests.benchmarks.footprints`.

Anonymous memory is what a process has for itself. Pages of files, as of libraries, are shared and can be read again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from core.roles import Role
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, attempted, limited, table
from tests.e2e.processes import until
from tests.e2e.terminal import ctrl, terminal

MEASURE = "anonymous memory"
INTERFACE_MB, WORKER_MB = 50.0, 90.0
SETTLE_SECONDS = 3.0
"""From a ready prompt and worker to the reading."""


def anonymous(pid: int) -> float:
    """MB of 1024² bytes, from Linux's /proc."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def rows(models: Models) -> list[Row]:
    return attempted(MEASURE, "", _rows, models)


def _rows(models: Models) -> Iterator[Row]:
    with (
        home({Role.INSTRUCT: models.tenth}) as client,
        terminal(client.paths.config_file.parent.parent, 120, 36) as shown,
    ):
        shown.until("Write a message")
        until(lambda: client.snapshot().worker_pid is not None)
        ready = time.monotonic()
        shown.until(lambda: time.monotonic() - ready > SETTLE_SECONDS)
        worker = client.snapshot().worker_pid
        assert worker is not None
        yield limited(MEASURE, "interface, at its prompt", anonymous(shown.child.pid), INTERFACE_MB, "MB")
        yield limited(MEASURE, "worker, nothing loaded", anonymous(worker), WORKER_MB, "MB")
        shown.press(ctrl("q"))
        shown.until_end()


def main() -> None:
    with built(short=True) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
