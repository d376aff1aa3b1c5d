"""Faults of the database's files: a full disk, one that cannot be written, a removed folder, a damaged file."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from app.runtime import REMOVED
from core.database import APPEND_ONLY
from core.errors import DatabaseError
from tests.app.charlie import charlie, started
from tests.e2e.processes import until
from tests.faults import phases
from tests.faults.outcome import BACK_SECONDS, TOLD_SECONDS, Fault, Outcome
from tests.faults.stage import Stage, left_on, stage

SMALL = "4m"
UNMOUNTABLE = "not provoked: no file system can be mounted here"


def _mount(folder: Path, *options: str) -> bool:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own at `folder`; False where this user cannot mount one."""
    mounted = shutil.which("mount") is not None and _mount(
        folder, "-t", "tmpfs", "-o", f"size={SMALL},mode=700", "charlie"
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"\0" * 4096)
        except OSError:
            return ballast


def _refused(on: Stage) -> str:
    """What a person is told who saves an entry; empty when they are told that it is saved."""
    try:
        on.save("x" * 20_000)
    except DatabaseError as error:
        return str(error)
    except redis.ResponseError as error:
        return str(error)
    return ""


def full(home: Path) -> Outcome:
    """What cannot be kept is never called saved; once there is room, all goes on."""
    data = home / "data" / "database"
    with _small_disk(data) as mounted:
        if not mounted:
            return Outcome(UNMOUNTABLE, 0.0)
        with stage(home) as on:
            phases.decoding(on)
            ballast = _fill(data)
            saw, again = _refused(on), _refused(on)
            missed = [] if saw and again else ["an entry was called saved on a full disk"]
            known = set(on.entries)
            ballast.unlink()
            began = time.monotonic()
            until(lambda: not _refused(on))
            back = time.monotonic() - began
            on.client.cancel(on.jobs[0].id)
            on.ask_for_more()
            missed += on.finish()
            unkept = [entry for entry in on.client.library.entries() if entry.id not in on.entries]
            for entry in unkept:  # kept though its saving was refused, which is no loss
                on.entries[entry.id] = entry.text
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


def unwritable(home: Path) -> Outcome:
    """A sentence at the start; nothing is left, and once it can be written all is there."""
    with _small_disk(home / "data") as mounted:
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
    """The folder goes while a reply is written: it comes back with all that was in it."""
    with stage(home) as on:
        phases.decoding(on)
        began = time.monotonic()
        shutil.rmtree(home / "data")
        told, saw = on.said.wait(REMOVED, began)
        on.save("Saved behind the removal.")
        back = time.monotonic() - began
        on.client.cancel(on.jobs[0].id)
        missed = [*on.finish(), *on.broken_promises()]
        if told > TOLD_SECONDS:
            missed.append(f"told of after {told:.1f} s")
        if back > BACK_SECONDS:
            missed.append(f"it could be written to after {back:.1f} s")
        on.stop()
    left = left_on(home)
    with stage(home) as again:
        again.jobs, again.entries = on.jobs, on.entries | again.entries
        jobs, entries = again.jobs_lost(), again.entries_lost()
        again.stop()
    return Outcome(saw, back, jobs, entries, left, tuple(missed))


def damaged(home: Path) -> Outcome:
    """The middle of the file cannot be read: a sentence with the way out, and the damaged file is kept."""
    with stage(home) as on:
        on.client.redis.set("charlie:filler", "f" * 2000)
        on.save("Behind the damage.")
        on.stop()
    file = home / "data" / "database" / APPEND_ONLY
    data = file.read_bytes()
    hole = data.index(b"f" * 2000) - 6  # over the length of the text, too
    broken = data[:hole] + os.urandom(1500) + data[hole + 1500 :]
    file.write_bytes(broken)
    began = time.monotonic()
    with started(home, "up") as up:
        _, said = up.communicate(timeout=60)
    missed = [] if up.returncode == 1 and "charlie repair" in said else [f"it ended with {up.returncode}: {said}"]
    if file.read_bytes() != broken:
        missed.append("the damaged file was written to")
    mended = charlie(home, "repair")
    if mended.code or not any(each.read_bytes() == broken for each in file.parent.glob(f"{APPEND_ONLY}.damaged-*")):
        missed.append(f"the damaged file was not set aside: {mended.err}")
    with stage(home) as again:
        back = time.monotonic() - began
        again.entries |= on.entries
        entries = again.entries_lost()
        again.stop()
    return Outcome(
        said.strip().removeprefix("charlie: ").replace("\n", " "), back, 0, entries, left_on(home), tuple(missed)
    )


FAULTS = [
    Fault("disk full while decoding", full),
    Fault("data folder that cannot be written", unwritable),
    Fault("data folder removed while decoding", removed, quick=True),
    Fault("database file damaged in its middle", damaged),
]
