"""A running Charlie that a fault is provoked on: `charlie up`, what it says, and what it has promised to keep."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.client import Client
from core.events import StateChanged, WorkerLost
from core.library import Entry
from core.paths import find_paths
from core.settings import Role, load_settings
from tasks.jobs import Job, JobState
from tests.app.charlie import started
from tests.e2e.processes import ORPHAN_SECONDS, running_on, until
from tests.e2e.terminal import Terminal, ctrl, terminal
from tests.faults.outcome import TooLateError
from tests.tasks.conftest import configure_slow
from tests.waiting import ended

SLOW = "slow.gguf"


class Said:
    """The lines that a process shows, each with the time (monotonic) at which it came; read by a thread."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()

    def _read(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.lines.append((time.monotonic(), line.strip()))

    def find(self, part: str, since: float) -> tuple[float, str] | None:
        return next((each for each in list(self.lines) if each[0] >= since and part in each[1]), None)

    def wait(self, part: str, since: float = 0.0) -> tuple[float, str]:
        """Seconds from `since` to the first line with `part` that came after it, and that line."""
        until(lambda: self.find(part, since) is not None)
        found = self.find(part, since)
        assert found is not None
        return found[0] - since, found[1]

    def end(self) -> None:
        """Wait until all has been read."""
        self._reader.join()


def _shown(terminal: Terminal) -> Iterator[str]:
    """Each line of a terminal whenever it has changed, until the program ends."""
    before: set[str] = set()
    while terminal._read():
        now = set(terminal.lines)
        yield from now - before
        before = now


@dataclass(slots=True)
class Stage:
    """A running Charlie on a home of its own, a client attached to it, and everything that was acknowledged."""

    home: Path
    pid: int
    end: Callable[[], None]
    said: Said
    client: Client
    jobs: list[Job] = field(default_factory=list)
    entries: dict[str, str] = field(default_factory=dict)
    press: Callable[[str], None] = lambda _: None
    """Types into the interface, where there is one."""
    shown: Terminal | None = None
    """Where that is shown; a thread reads from it."""

    def save(self, text: str = "Not to be lost.") -> Entry:
        entry = self.client.library.new_entry(text)
        self.entries[entry.id] = text
        return entry

    def ask(self, job: Job) -> Job:
        self.jobs.append(job)
        return job

    def ask_for_more(self) -> None:
        """Jobs that wait while the fault comes, and are done after it in this order."""
        self.ask(self.client.warm(Role.EMBEDDING))
        self.ask(self.client.ingest(self.save("What waited while it happened.")))
        self.ask(self.client.warm(Role.RERANKER))

    def worker(self) -> int:
        pid = self.client.snapshot().worker_pid
        assert pid is not None
        return pid

    def database(self) -> int:
        pid = self.client.database_pid()
        assert pid is not None
        return pid

    def jobs_lost(self) -> int:
        """Jobs of which there is no record, or which will never be done."""
        found = {job.id: job for job in self.client.jobs.find_all([job.id for job in self.jobs])}
        queued = {each.job.id for each in self.client.queue()}
        lost = [job for job in self.jobs if job.id not in found or not (found[job.id].state.ended or job.id in queued)]
        return len(lost)

    def entries_lost(self) -> int:
        return entries_lost(self.client, self.entries)

    def broken_promises(self) -> list[str]:
        """What must hold after every fault once the jobs have been waited for: order, and nothing twice."""
        missed = []
        started = [found.started for job in self.jobs if (found := self.client.jobs.find(job.id)) and found.started]
        if started != sorted(started):
            missed.append("jobs changed their order")
        if len(self.client.library.entries()) > len(self.entries):
            missed.append("an entry is there twice")
        numbers = [change.seq for change in self.history() if isinstance(change, StateChanged)]
        if numbers != list(range(1, len(numbers) + 1)):
            missed.append("a transition is missing or doubled")
        return missed

    def history(self) -> list[object]:
        """Transitions and what became of workers, oldest first."""
        return list(reversed(self.client.bus.transitions(1000)))

    def finish(self) -> list[str]:
        """Wait for every job; returns those that are not done though nothing kept them from it."""
        return [
            f"{job.kind} is {last.state} {last.error}".rstrip()
            for job in self.jobs[1:]
            if (last := ended(self.client.jobs, job.id)).state is not JobState.DONE
        ]

    def died_in(self, phase: str) -> None:
        """Raises TooLateError when the worker was in another phase when it was lost."""
        at = "empty"
        for event in self.history():
            if isinstance(event, WorkerLost):
                break
            if isinstance(event, StateChanged):
                at = event.to
        if at != phase:
            raise TooLateError(f"the worker was lost while {at}, not while {phase}")

    def stop(self) -> None:
        """Have it end in order, and wait until it has."""
        self.end()
        self.said.end()


@contextmanager
def stage(home: Path, **variables: str) -> Iterator[Stage]:
    """`charlie up` on the slow instruct model, ready to work; told to end after the block."""
    configure_slow(home / SLOW)
    with started(home, "up", **variables) as up:
        assert up.stderr is not None
        said = Said(iter(up.stderr))
        try:
            assert "is up" in said.wait("worker")[1]
            with _attached(home, up.pid, up.terminate, said) as on:
                yield on
        finally:
            up.kill()
            said.end()


@contextmanager
def interface(home: Path, **variables: str) -> Iterator[Stage]:
    """The interface in a pseudo-terminal, likewise."""
    configure_slow(home / SLOW)
    with terminal(home, 120, 36, variables) as shown:
        said = Said(_shown(shown))
        try:
            said.wait("Empty   nothing loaded yet")
            with _attached(home, shown.child.pid, lambda: shown.press(ctrl("q")), said) as on:
                on.press, on.shown = shown.press, shown
                yield on
        finally:
            shown.child.kill(signal.SIGKILL)
            said.end()


@contextmanager
def _attached(home: Path, pid: int, end: Callable[[], None], said: Said) -> Iterator[Stage]:
    client = Client(load_settings(), find_paths())
    try:
        on = Stage(home, pid, end, said, client)
        on.save()
        yield on
    finally:
        client.close()


def entries_lost(client: Client, entries: dict[str, str]) -> int:
    """Acknowledged entries that are not there as they were saved."""
    texts = {entry.id: entry.text for entry in client.library.entries()}
    return sum(texts.get(id_) != text for id_, text in entries.items())


def left_on(home: Path) -> tuple[str, ...]:
    """The processes of a home that are still there when two seconds have passed."""
    with suppress(AssertionError):
        until(lambda: not running_on(home), ORPHAN_SECONDS)
    return tuple(f"{process.name()} ({process.pid})" for process in running_on(home))


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> float:
    """Send a signal; returns when."""
    os.kill(pid, number)
    return time.monotonic()
