"""What earlier runs left behind, and a clock that is set back: the next start recovers by itself."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from core.database import FAR, NEAR
from core.paths import find_paths
from tests.e2e.processes import kill_all, until
from tests.faults import phases
from tests.faults.outcome import STOPPED_SECONDS, TOLD_SECONDS, Fault, Outcome
from tests.faults.stage import Stage, interface, kill, left_on, stage

START_SECONDS = 3.0
KEEP = 3
"""Seconds of keep_alive."""


@contextmanager
def _another_program() -> Iterator[tuple[int, Path]]:
    """The pid of one, and a socket in the temporary folder that it listens on; its folder is named as ours are."""
    script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(); input()"
    with tempfile.TemporaryDirectory(prefix=FAR) as folder:
        path = Path(folder) / "db.sock"
        command = [sys.executable, "-c", script, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline()
                yield process.pid, path
                assert process.poll() is None, "the other program was ended"
                assert path.exists(), "the other program's socket was deleted"
            finally:
                process.kill()


def stale_files(home: Path) -> Outcome:
    """All is killed at once; the address that is left names the process and the socket of another program by now."""
    with stage(home) as on:
        phases.decoding(on)
        kill_all(home)
    paths = find_paths()
    address = paths.database / "address.json"
    left = json.loads(address.read_text())
    other = paths.run / f"{NEAR}notes"
    other.mkdir()
    (other / "kept").write_text("not ours")
    with _another_program() as (pid, socket):
        address.write_text(json.dumps({"pid": pid, "owner": pid, "socket": str(socket)}))
        began = time.monotonic()
        with stage(home) as again:
            usable = time.monotonic() - began
            again.jobs, again.entries = on.jobs, on.entries | again.entries
            missed = [*again.finish(), *again.broken_promises()]
            jobs, entries = again.jobs_lost(), again.entries_lost()
            again.stop()
    if not (other / "kept").exists():
        missed.append("a folder of somebody else was deleted")
    if Path(left["socket"]).parent.exists():
        missed.append("the old run folder was left")
    if usable > START_SECONDS:
        missed.append(f"the next start took {usable:.1f} s")
    return Outcome("it starts as ever", usable, jobs, entries, left_on(home), tuple(missed))


class Clock:
    """The clock of what is started with its `variables`; a shim that moves the time leaves the machine's as it is."""

    def __init__(self, folder: Path) -> None:
        library = folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
        self._file = folder / "clock"
        self._file.write_bytes(bytes(8))
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._file)}

    def set_back(self, seconds: int) -> None:
        with self._file.open("r+b", buffering=0) as file:  # in place, as it is mapped by those that run
            file.write(struct.pack("=q", -seconds))


def _say(on: Stage, text: str) -> None:
    """Type a message into the interface, and wait for its reply."""
    on.press(f"{text}\r")
    until(lambda: any(text in said and answered for said, answered in _talk(on)))


def _talk(on: Stage) -> list[tuple[str, bool]]:
    """What was said in the conversation used last, each with whether a reply stands behind it."""
    messages = on.client.library.messages(on.client.library.conversations()[0].id)
    answered = {one.id for one, other in pairwise(messages) if other.role == "assistant"}
    return [(message.text, message.id in answered) for message in messages if message.role == "user"]


def clock_set_back(home: Path) -> Outcome:
    """An hour while a model is kept warm, and another between two starts."""
    clock = Clock(home)
    variables = {**clock.variables, "CHARLIE_INSTRUCT__SAMPLING__MAX_TOKENS": "3", "CHARLIE_KEEP_ALIVE": str(KEEP)}
    missed = []
    with interface(home, **variables) as on:
        on.client.library.new_conversation()
        _say(on, "one")
        answered = time.monotonic()
        clock.set_back(3600)
        until(lambda: on.client.snapshot().phase == "empty")
        evicted = time.monotonic() - answered
        _say(on, "two")
        _say(on, "three")
        began = kill(on.worker())
        told, saw = on.said.wait("lost", began)
        on.said.wait("Empty", began + told)
        missed += on.broken_promises()
        began = time.monotonic()
        on.stop()
        ended = time.monotonic() - began
        left = left_on(home)
    clock.set_back(7200)
    began = time.monotonic()
    with interface(home, **variables) as again:
        usable = time.monotonic() - began
        _say(again, "four")
        talk = _talk(again)
        again.entries |= on.entries
        missed += again.broken_promises()
        lost = again.entries_lost()
        durations = again.client.jobs.durations()
        again.stop()
    if talk != [(text, True) for text in ("one", "two", "three", "four")]:
        missed.append(f"the conversation is {talk}")
    if not KEEP - 1 < evicted < KEEP + 4:
        missed.append(f"a model that is kept for {KEEP} s was unloaded after {evicted:.1f} s")
    if any(not 0 < seconds < 60 for seconds in durations.values()):
        missed.append(f"what jobs take was estimated as {durations}")
    if told > TOLD_SECONDS:
        missed.append(f"a lost worker was told of after {told:.1f} s")
    if ended > STOPPED_SECONDS:
        missed.append(f"the end took {ended:.1f} s")
    saw = f"all as ever: the order of what was said, {evicted:.1f} s for a keep_alive of {KEEP} s; told “{saw}”"
    return Outcome(saw, usable, 0, lost, (*left, *left_on(home)), tuple(missed))


FAULTS = [
    Fault("clock set back an hour, running and between two starts", clock_set_back),
    Fault("stale address and run folder, its pid and socket another program's", stale_files, quick=True),
]
