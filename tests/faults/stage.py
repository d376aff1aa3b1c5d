"""A running Charlie on which a fault is provoked: its process, its output, and all that it acknowledged."""

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
from core.database.connection import read_address
from core.events.types import JobState, StateChanged, WorkerLost
from core.library.records import Entry
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tasks.jobs.records import Job
from tests.app.commands.charlie import started
from tests.e2e.processes import ORPHAN_SECONDS, running_on, until
from tests.e2e.terminal import Terminal, ctrl, terminal
from tests.faults.outcome import TooLateError
from tests.tasks.conftest import configure_slow
from tests.waiting import ended, join

SLOW = "slow.gguf"


class Output:
    """The lines that a process prints, each with its time (monotonic); read by a thread."""

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
        """Waits for the first line with `part` after `since`; returns the seconds between them, and the line."""
        until(lambda: self.find(part, since) is not None)
        found = self.find(part, since)
        assert found is not None
        return found[0] - since, found[1]

    def end(self) -> None:
        """Waits until the process has closed its output."""
        join(self._reader)


def _changed_lines(terminal: Terminal) -> Iterator[str]:
    """Each changed line of a terminal, until the program ends."""
    before: set[str] = set()
    while terminal._read():
        now = set(terminal.lines)
        yield from now - before
        before = now


@dataclass(slots=True)
class Stage:
    """A running Charlie, a client attached to it, and the jobs and entries that it acknowledged."""

    home: Path
    pid: int
    end: Callable[[], None]
    output: Output
    client: Client
    jobs: list[Job] = field(default_factory=list)
    entries: dict[str, str] = field(default_factory=dict)
    press: Callable[[str], None] = lambda _: None
    """Types into the interface, if there is one."""
    terminal: Terminal | None = None
    """The interface's terminal; a thread reads from it."""

    def save(self, text: str = "Not to be lost.") -> Entry:
        entry = self.client.journal.new_entry(text)
        self.entries[entry.id] = text
        return entry

    def track(self, job: Job) -> Job:
        self.jobs.append(job)
        return job

    def queue_more(self) -> None:
        """Queues jobs that wait during the fault and run after it in this order."""
        self.track(self.client.warm(Role.EMBEDDING))
        self.track(self.client.ingest(self.save("Waited during the fault.")))
        self.track(self.client.warm(Role.RERANKER))

    def worker(self) -> int:
        pid = self.client.snapshot().worker_pid
        assert pid is not None
        return pid

    def database(self) -> int:
        address = read_address(self.client.paths)
        assert address is not None
        return address.pid

    def jobs_lost(self) -> int:
        """Counts jobs without a record, and jobs that neither ended nor wait."""
        found = {job.id: job for job in self.client.jobs.find_all([job.id for job in self.jobs])}
        queued = {each.job.id for each in self.client.queue()}
        lost = [job for job in self.jobs if job.id not in found or not (found[job.id].state.ended or job.id in queued)]
        return len(lost)

    def entries_lost(self) -> int:
        return entries_lost(self.client, self.entries)

    def broken_promises(self) -> list[str]:
        """After a fault and the end of all jobs: those that ran out of order, and duplicates."""
        missed = []
        started = [found.started for job in self.jobs if (found := self.client.jobs.find(job.id)) and found.started]
        if started != sorted(started):
            missed.append("jobs changed their order")
        if len(self.client.journal.entries()) > len(self.entries):
            missed.append("an entry is stored twice")
        numbers = [change.seq for change in self.history() if isinstance(change, StateChanged)]
        if numbers != list(range(1, len(numbers) + 1)):
            missed.append("a transition is missing or published twice")
        return missed

    def history(self) -> list[object]:
        """Transitions, and the workers' starts and losses, oldest first."""
        return list(reversed(self.client.bus.transitions(1000)))

    def wait_for_jobs(self) -> list[str]:
        """Waits for every job; returns those behind the first one that are not done."""
        return [
            f"{job.kind} is {last.state} {last.error}".rstrip()
            for job in self.jobs[1:]
            if (last := ended(self.client.jobs, job.id)).state is not JobState.DONE
        ]

    def check_lost_in(self, phase: str) -> None:
        """Raises TooLateError when the worker was lost in another phase."""
        at = "empty"
        for event in self.history():
            if isinstance(event, WorkerLost):
                break
            if isinstance(event, StateChanged):
                at = event.to
        if at != phase:
            raise TooLateError(f"the worker was lost while {at}, not while {phase}")

    def stop(self) -> None:
        """Ends Charlie in the regular way, and waits for its end."""
        self.end()
        self.output.end()


@contextmanager
def stage(home: Path, **variables: str) -> Iterator[Stage]:
    """`charlie up` with the slow instruct model, its worker ready."""
    configure_slow(home / SLOW)
    with started(home, "up", **variables) as up:
        assert up.stderr is not None
        output = Output(iter(up.stderr))
        try:
            assert "is up" in output.wait("worker")[1]
            with _attached(home, up.pid, up.terminate, output) as on:
                yield on
        finally:
            up.kill()
            output.end()


@contextmanager
def interface(home: Path, **variables: str) -> Iterator[Stage]:
    """The interface in a pseudo-terminal, with the slow instruct model, its worker ready."""
    configure_slow(home / SLOW)
    with terminal(home, 120, 36, variables) as shown:
        output = Output(_changed_lines(shown))
        try:
            output.wait("Empty   nothing loaded yet")
            with _attached(home, shown.child.pid, lambda: shown.press(ctrl("q")), output) as on:
                on.press, on.terminal = shown.press, shown
                yield on
        finally:
            shown.child.kill(signal.SIGKILL)
            output.end()


@contextmanager
def _attached(home: Path, pid: int, end: Callable[[], None], output: Output) -> Iterator[Stage]:
    client = Client(load_settings(), find_paths())
    try:
        on = Stage(home, pid, end, output, client)
        on.save()
        yield on
    finally:
        client.close()


def entries_lost(client: Client, entries: dict[str, str]) -> int:
    """Counts acknowledged entries that are missing or have another text."""
    texts = {entry.id: entry.text for entry in client.journal.entries()}
    return sum(texts.get(id_) != text for id_, text in entries.items())


def left_on(home: Path) -> tuple[str, ...]:
    """The processes of a home that are still running after two seconds."""
    with suppress(AssertionError):
        until(lambda: not running_on(home), ORPHAN_SECONDS)
    return tuple(f"{process.name()} ({process.pid})" for process in running_on(home))


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> float:
    """Sends a signal; returns the time."""
    os.kill(pid, number)
    return time.monotonic()
