"""What runs on a home, and waiting until it is so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PATIENCE = 20.0
"""Seconds until a test that waits for something gives up."""
ORPHAN_SECONDS = 2.0
"""What is left of an interface that ended, however it did, is gone after this."""
PATIENT = {"CHARLIE_WATCHDOG__STOPPED_SECONDS": "0"}
"""With this a worker that a test has stopped is left alone."""


def until(seen: Callable[[], bool], seconds: float = PATIENCE, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Wait until something holds, for the end of another process has no event to wait for."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "what was waited for did not come"
        meanwhile()
        time.sleep(0.01)


def running_on(home: Path) -> list[psutil.Process]:
    """Every living process that was started with this home: interfaces, databases, workers and commands."""
    found, data = [], home / "data" / "database"
    for process in psutil.process_iter():
        try:
            # redis-server writes its title over its environment; where it works is the data folder.
            ours = process.environ().get("CHARLIE_HOME") == str(home) or process.cwd() == str(data)
            alive = process.status() != psutil.STATUS_ZOMBIE
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if ours and alive:
            found.append(process)
    return found


def databases_on(home: Path) -> list[psutil.Process]:
    return [process for process in running_on(home) if process.name() == "redis-server"]


def workers_on(home: Path) -> list[psutil.Process]:
    return [process for process in running_on(home) if "tasks.worker" in process.cmdline()]


def kill_all(home: Path) -> list[str]:
    """End what was left running; returns what it was, so that a test can fail of it."""
    left = running_on(home)
    names = [process.name() for process in left]
    for process in left:
        process.kill()
    return names


def quiet_disk() -> None:
    """Write out what others left: a database that ends waits for its own bytes, which come behind those."""
    os.sync()


def assert_all_gone(home: Path, seconds: float = ORPHAN_SECONDS) -> None:
    psutil.wait_procs(running_on(home), timeout=seconds)
    left = [f"{process.name()} ({process.status()})" for process in running_on(home)]
    assert not left, left
