"""The processes that run on a home, and waiting for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PATIENCE = 20.0
"""Seconds until a test that waits for something gives up."""
ORPHAN_SECONDS = 2.0
"""Within this time after any end of the interface, no process is left."""
PATIENT = {"CHARLIE_WATCHDOG__STOPPED_SECONDS": "0", "CHARLIE_WATCHDOG__SILENCE_SECONDS": "0"}
"""With this the watchdog does not kill a worker that a test has suspended."""


def until(seen: Callable[[], bool], seconds: float = PATIENCE, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Polls until `seen()` is true: the end of another process is no event that could be waited for."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, f"still waiting after {seconds:.0f} seconds"
        meanwhile()
        time.sleep(0.01)


def running_on(home: Path) -> list[psutil.Process]:
    """Every living process of this home: interfaces, databases, workers and commands."""
    found, data = [], home / "data" / "database"
    for process in psutil.process_iter():
        try:
            # redis-server overwrites its environment with its title, but its working folder is the data folder.
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
    """Kills the processes of a home; returns their names, for a test to fail with."""
    left = running_on(home)
    names = [process.name() for process in left]
    for process in left:
        process.kill()
    return names


def quiet_disk() -> None:
    """Writes out pending data of others: a database that ends waits until its own data behind it is written."""
    os.sync()


def assert_all_gone(home: Path, seconds: float = ORPHAN_SECONDS) -> None:
    psutil.wait_procs(running_on(home), timeout=seconds)
    left = [f"{process.name()} ({process.status()})" for process in running_on(home)]
    assert not left, left
