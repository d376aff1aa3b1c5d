"""Faults of the database's files: a full disk, a read-only disk, a removed folder, a damaged file."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from app.runtime.owner import REMOVED
from core.database.server import APPEND_ONLY
from core.errors import DatabaseError
from tests.app.commands.charlie import charlie, started
from tests.e2e.processes import until
from tests.faults import phases
from tests.faults.outcome import RECOVERED_SECONDS, REPORTED_SECONDS, Fault, Outcome, too_slow
from tests.faults.stage import Stage, left_on, stage

SMALL = "4m"
UNMOUNTABLE = "not provoked: no file system can be mounted here"


def _mount(folder: Path, *options: str) -> bool:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False, timeout=20)
    return done.returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mounts a small file system at `folder`; yields False where this user may not."""
    mounted = shutil.which("mount") is not None and _mount(
        folder, "-t", "tmpfs", "-o", f"size={SMALL},mode=700", "charlie"
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"\0" * 4096)
        except OSError:
            return ballast


def _save_error(on: Stage) -> str:
    """The error of saving an entry; empty when it was saved."""
    try:
        on.save("x" * 20_000)
    except DatabaseError as error:
        return str(error)
    except redis.ResponseError as error:
        return str(error)
    return ""


def full(home: Path) -> Outcome:
    """No entry is reported as saved while the disk is full; with room again, everything works."""
    data = home / "data" / "database"
    with small_disk(data) as mounted:
        if not mounted:
            return Outcome(UNMOUNTABLE, 0.0)
        with stage(home) as on:
            phases.decoding(on)
            ballast = fill(data)
            saw, again = _save_error(on), _save_error(on)
            missed = [] if saw and again else ["an entry was reported as saved on a full disk"]
            known = set(on.entries)
            ballast.unlink()
            began = time.monotonic()
            until(lambda: not _save_error(on))
            back = time.monotonic() - began
            on.client.cancel(on.jobs[0].id)
            on.queue_more()
            missed += on.wait_for_jobs()
            for entry in on.client.journal.entries():  # one may be kept though its saving failed, which is no loss
                on.entries.setdefault(entry.id, entry.text)
            missed += on.broken_promises()
            assert known <= set(on.entries)
            jobs, entries = on.jobs_lost(), on.entries_lost()
            on.stop()
        left = left_on(home)
        with stage(home) as on_again:
            on_again.entries |= on.entries
            entries += on_again.entries_lost()
            on_again.stop()
    return Outcome(saw, back, jobs, entries, left, tuple(missed))


def read_only(home: Path) -> Outcome:
    """Charlie ends with one sentence and leaves no process; with write access again, everything is there."""
    with small_disk(home / "data") as mounted:
        if not mounted:
            return Outcome(UNMOUNTABLE, 0.0)
        with stage(home) as before:
            before.stop()
        assert _mount(home / "data", "-o", "remount,ro")
        done = charlie(home, "journal", "list")
        missed = [] if done.code == 1 else [f"it ended with {done.code}"]
        left = left_on(home)
        assert _mount(home / "data", "-o", "remount,rw")
        began = time.monotonic()
        with stage(home) as on:
            back = time.monotonic() - began
            on.entries |= before.entries
            entries = on.entries_lost()
            on.stop()
        left += left_on(home)
    return Outcome(done.err.strip().removeprefix("charlie: ").replace("\n", " "), back, 0, entries, left, tuple(missed))


def removed(home: Path) -> Outcome:
    """The folder is deleted while a reply streams: Charlie restores it with its contents."""
    with stage(home) as on:
        phases.decoding(on)
        began = time.monotonic()
        shutil.rmtree(home / "data")
        reported, saw = on.output.wait(REMOVED, began)
        on.save("Saved behind the removal.")
        back = time.monotonic() - began
        on.client.cancel(on.jobs[0].id)
        missed = [*on.wait_for_jobs(), *on.broken_promises()]
        missed += too_slow("the report", reported, REPORTED_SECONDS)
        missed += too_slow("saving again", back, RECOVERED_SECONDS)
        on.stop()
    left = left_on(home)
    with stage(home) as again:
        again.jobs, again.entries = on.jobs, on.entries | again.entries
        jobs, entries = again.jobs_lost(), again.entries_lost()
        again.stop()
    return Outcome(saw, back, jobs, entries, left, tuple(missed))


def damaged(home: Path) -> Outcome:
    """Damage in the middle of the file: one sentence names the remedy, and the damaged file is kept."""
    with stage(home) as on:
        on.client.redis.set("charlie:filler", "f" * 2000)
        on.save("Behind the damage.")
        on.stop()
    file = home / "data" / "database" / APPEND_ONLY
    data = file.read_bytes()
    hole = data.index(b"f" * 2000) - 6  # overwrites the length of the text, too
    broken = data[:hole] + os.urandom(1500) + data[hole + 1500 :]
    file.write_bytes(broken)
    began = time.monotonic()
    with started(home, "up") as up:
        _, errors = up.communicate(timeout=60)
    missed = [] if up.returncode == 1 and "charlie repair" in errors else [f"it ended with {up.returncode}: {errors}"]
    if file.read_bytes() != broken:
        missed.append("the damaged file was written to")
    mended = charlie(home, "repair")
    if mended.code or not any(each.read_bytes() == broken for each in file.parent.glob(f"{APPEND_ONLY}.damaged-*")):
        missed.append(f"the damaged file was not kept: {mended.err}")
    with stage(home) as again:
        back = time.monotonic() - began
        again.entries |= on.entries
        entries = again.entries_lost()
        again.stop()
    return Outcome(
        errors.strip().removeprefix("charlie: ").replace("\n", " "), back, 0, entries, left_on(home), tuple(missed)
    )


FAULTS = [
    Fault("disk full while decoding", full),
    Fault("data folder is read-only", read_only),
    Fault("data folder removed while decoding", removed, quick=True),
    Fault("database file damaged in the middle", damaged),
]
