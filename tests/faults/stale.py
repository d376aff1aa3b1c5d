"""Files left by earlier runs, and a clock that is set back: the next start recovers by itself."""

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

from core.database.server import OWN_PREFIX, TEMPORARY_PREFIX
from core.paths import find_paths
from tests.e2e.processes import kill_all, until
from tests.faults import phases
from tests.faults.outcome import REPORTED_SECONDS, STOPPED_SECONDS, Fault, Outcome, too_slow
from tests.faults.stage import Stage, interface, kill, left_on, stage

START_SECONDS = 3.0
KEEP_ALIVE = 3
"""Seconds of keep_alive."""


@contextmanager
def _another_program() -> Iterator[tuple[int, Path]]:
    """Its pid and its socket, in a folder that is named like Charlie's own."""
    script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(); input()"
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
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
    """All is killed at once, and the address file that is left names another program's process and socket."""
    with stage(home) as on:
        phases.decoding(on)
        kill_all(home)
    paths = find_paths()
    address = paths.database / "address.json"
    left = json.loads(address.read_text())
    other = paths.run / f"{OWN_PREFIX}notes"
    other.mkdir()
    (other / "kept").write_text("not ours")
    with _another_program() as (pid, socket):
        address.write_text(json.dumps({"pid": pid, "owner": pid, "socket": str(socket)}))
        began = time.monotonic()
        with stage(home) as again:
            usable = time.monotonic() - began
            again.jobs, again.entries = on.jobs, on.entries | again.entries
            missed = [*again.wait_for_jobs(), *again.broken_promises()]
            jobs, entries = again.jobs_lost(), again.entries_lost()
            again.stop()
    if not (other / "kept").exists():
        missed.append("another program's folder was deleted")
    if Path(left["socket"]).parent.exists():
        missed.append("the old run folder was not deleted")
    missed += too_slow("the next start", usable, START_SECONDS)
    return Outcome("a normal start", usable, jobs, entries, left_on(home), tuple(missed))


class Clock:
    """A clock for the processes that are started with its `variables`; a preloaded library moves their time only."""

    def __init__(self, folder: Path) -> None:
        library = folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, timeout=60)
        self._file = folder / "clock"
        self._file.write_bytes(bytes(8))
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._file)}

    def set_back(self, seconds: int) -> None:
        with self._file.open("r+b", buffering=0) as file:  # in place: running processes have mapped the file
            file.write(struct.pack("=q", -seconds))


def _ask(on: Stage, text: str) -> None:
    """Types a message into the interface, and waits for its reply."""
    on.press(f"{text}\r")
    until(lambda: any(text in message and answered for message, answered in _messages(on)))


def _messages(on: Stage) -> list[tuple[str, bool]]:
    """The user's messages of the latest conversation, each with whether it has a reply."""
    messages = on.client.conversations.messages(on.client.conversations.conversations()[0].id)
    answered = {one.id for one, other in pairwise(messages) if other.role == "assistant"}
    return [(message.text, message.id in answered) for message in messages if message.role == "user"]


def clock_set_back(home: Path) -> Outcome:
    """One hour back while a model is kept warm, and another hour between two starts."""
    clock = Clock(home)
    variables = {
        **clock.variables,
        "CHARLIE_INSTRUCT__SAMPLING__MAX_TOKENS": "3",
        "CHARLIE_KEEP_ALIVE": str(KEEP_ALIVE),
    }
    missed = []
    with interface(home, **variables) as on:
        on.client.conversations.new_conversation()
        _ask(on, "one")
        answered = time.monotonic()
        clock.set_back(3600)
        until(lambda: on.client.snapshot().phase == "empty")
        evicted = time.monotonic() - answered
        _ask(on, "two")
        _ask(on, "three")
        began = kill(on.worker())
        reported, saw = on.output.wait("lost", began)
        on.output.wait("Empty", began + reported)
        missed += on.broken_promises()
        began = time.monotonic()
        on.stop()
        ended = time.monotonic() - began
        left = left_on(home)
    clock.set_back(7200)
    began = time.monotonic()
    with interface(home, **variables) as again:
        usable = time.monotonic() - began
        _ask(again, "four")
        messages = _messages(again)
        again.entries |= on.entries
        missed += again.broken_promises()
        lost = again.entries_lost()
        durations = again.client.jobs.durations()
        again.stop()
    if messages != [(text, True) for text in ("one", "two", "three", "four")]:
        missed.append(f"the conversation is {messages}")
    if evicted <= KEEP_ALIVE - 1:
        missed.append(f"a model with keep_alive {KEEP_ALIVE} s was unloaded after {evicted:.1f} s")
    missed += too_slow("the unload", evicted, KEEP_ALIVE + 4)
    if any(not 0 < seconds < 60 for seconds in durations.values()):
        missed.append(f"the estimated durations of jobs are {durations}")
    missed += too_slow("the report of a lost worker", reported, REPORTED_SECONDS)
    missed += too_slow("the end", ended, STOPPED_SECONDS)
    saw = f"messages in order, unloaded {evicted:.1f} s after the reply with a keep_alive of {KEEP_ALIVE} s; “{saw}”"
    return Outcome(saw, usable, 0, lost, (*left, *left_on(home)), tuple(missed))


FAULTS = [
    Fault("clock set back an hour, running and between two starts", clock_set_back),
    Fault("stale address and run folder that name another program's pid and socket", stale_files, quick=True),
]
