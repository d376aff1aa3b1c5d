"""Another user of the machine can reach nothing: no file, no folder, no socket of the database, no port."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from core.database.connection import read_address
from core.paths import find_paths
from tests.app.commands.charlie import charlie
from tests.e2e.processes import running_on
from tests.faults import phases, stranger
from tests.faults.outcome import Fault, Outcome
from tests.faults.stage import left_on, stage

NOBODY = 65534
GROUP_AND_OTHERS = 0o077


@contextmanager
def _open_above(home: Path) -> Iterator[None]:
    """Opens the folders above the home to all users, so that only the modes set by Charlie protect its files."""
    before = {folder: stat.S_IMODE(folder.stat().st_mode) for folder in (home, *home.parents)}
    closed = [folder for folder, mode in before.items() if mode & 0o011 != 0o011]
    for folder in closed:
        folder.chmod(before[folder] | 0o011)
    try:
        yield
    finally:
        for folder in closed:
            folder.chmod(before[folder])


def _ours(*more: Path) -> list[Path]:
    """Every path that Charlie has made."""
    paths = find_paths()
    roots = [paths.config, paths.data, paths.models, paths.logs, paths.run, *more]
    if address := read_address(paths):
        roots.append(Path(address.socket).parent)
    found = set(roots)
    for root in roots:
        found |= {Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files)}
    return sorted(found)


def _close_test_files() -> None:
    """Makes the files written by the tests as private as Charlie's own."""
    paths = find_paths()
    for path in (paths.models, paths.config_file):
        path.chmod(0o700)


def _reached(ours: list[Path], open_to_all: Path) -> list[str]:
    """Paths that a process of another user can reach; needs root. A file open to all proves that it tried."""
    open_to_all.touch(mode=0o644)
    open_to_all.chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-I", "-S", stranger.__file__, str(NOBODY)],
        input=b"\n".join(map(os.fsencode, [*ours, open_to_all])),
        capture_output=True,
        check=True,
        timeout=60,
    )
    *reached, last = done.stdout.decode(errors="replace").splitlines() or [""]
    return reached if last == f"{open_to_all} can be read" else [*reached, last, "the other user could not try"]


def _too_open(ours: list[Path]) -> list[str]:
    """Paths that other users could reach if the folders above were open."""
    modes = [(path, path.lstat().st_mode) for path in ours if path.exists()]
    return [
        f"{path.name} has the mode {stat.S_IMODE(mode):o}"
        for path, mode in modes
        if not stat.S_ISLNK(mode) and mode & GROUP_AND_OTHERS
    ]


def _ports(home: Path) -> list[str]:
    return [
        f"{process.name()} listens on port {connection.laddr.port}"
        for process in running_on(home)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def reached_by_nobody(home: Path) -> Outcome:
    with stage(home) as on, _open_above(home):
        _close_test_files()
        phases.decoding(on)
        assert charlie(home, "export", str(home / "export")).code == 0
        ours = _ours(home / "export")
        missed = _too_open(ours) + _ports(home)
        if not any(path.is_socket() for path in ours):
            missed.append("there is no socket to try")
        saw = f"no port, and {len(ours)} paths whose modes let nobody in; not tried as another user, without root"
        if os.getuid() == 0:
            missed += _reached(ours, home / "open")
            saw = f"no port, and as another user none of {len(ours)} paths, the database's socket among them"
        on.client.cancel(on.jobs[0].id)
        missed += [*on.wait_for_jobs(), *on.broken_promises()]
        jobs, entries = on.jobs_lost(), on.entries_lost()
        on.stop()
    return Outcome(saw, 0.0, jobs, entries, left_on(home), tuple(missed))


FAULTS = [Fault("another user of the machine", reached_by_nobody, quick=True)]
