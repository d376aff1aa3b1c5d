"""Runs everything at once for a time, with three kill -9, and checks what was promised."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import redis

from app.client import Client
from app.library_changes import delete_entry
from core.paths import find_paths
from core.settings_file import load_settings
from tests.app.commands.charlie import charlie
from tests.e2e.processes import databases_on, running_on, until, workers_on
from tests.stress.commands import Commands, Imports
from tests.stress.interfaces import Interface
from tests.stress.record import Record, found_in_files, kept
from tests.waiting import join

LAST_STEP_SECONDS = 240.0
"""The longest time that the last operations take after the end."""
END_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome: operations by kind, the lost words with who saved them, and files with removed words."""

    done: dict[str, int]
    kills: list[str]
    seconds: float
    saved: int
    removed: int
    full: int
    """Records with as many revisions as are kept: what was pushed out of them is not lost."""
    lost: dict[str, str]
    in_files: dict[str, set[str]]
    problems: list[str]

    @property
    def good(self) -> bool:
        return not (self.lost or self.in_files or self.problems)


class Killer:
    """Kills the worker, the database and the first interface, in equal distances."""

    def __init__(self, home: Path, first: Interface) -> None:
        self._home = home
        self._first = first
        self.killed: list[str] = []

    def kill_next(self) -> None:
        match len(self.killed):
            case 0:
                workers_on(self._home)[0].kill()
                self.killed.append("worker")
            case 1:
                databases_on(self._home)[0].kill()
                self.killed.append("database")
            case 2:
                self._first.terminal.child.kill(signal.SIGKILL)
                self.killed.append("interface")


def stress(home: Path, seconds: float) -> Report:
    record = Record()
    client = Client(load_settings(), find_paths())
    with ExitStack() as stack:
        stack.callback(client.close)
        interfaces = [Interface(home, record, seed) for seed in (1, 2)]
        for each in interfaces:
            stack.callback(each.close)
        assert client.redis.ping(), "the client must be on the same folder"
        commands = [Commands(home, client, record, seed) for seed in (3, 4)]
        imports = Imports(home, home.with_name(f"{home.name}-export"), client, record, seed=5)
        steps = [*(each.step for each in interfaces), *(each.step for each in commands), imports.step]
        _run(steps, seconds, record, killer := Killer(home, interfaces[0]))
        for each in interfaces:
            if not each.terminal.child.isalive():
                each.step()
            each.settle()
        # An interface whose terminal nobody reads stops at a full buffer, and takes nothing over.
        until(lambda: _answers(client), END_SECONDS, lambda: [each.terminal._read() for each in interfaces])
        _empty_trash(home, client, record)
        here = kept(client)
        lost = {word: who for word, who in record.saved.items() if word not in here.words | record.removed}
        removed = record.removed - here.words
        for each in interfaces:
            if status := each.quit():
                record.problems.append(f"an interface ended with {status}")
        until(lambda: not running_on(home), END_SECONDS)
        return Report(
            dict(sorted(record.done.items())), killer.killed, time.monotonic() - record.began, len(record.saved),
            len(removed), here.full, lost, found_in_files(home, removed), [each for each in record.problems if each],
        )  # fmt: skip


def _answers(client: Client) -> bool:
    """Whether the database is back after the last kill."""
    try:
        return bool(client.redis.ping())
    except redis.RedisError:
        return False


def _empty_trash(home: Path, client: Client, record: Record) -> None:
    """Remove all that is in the trash, and one entry more, while the interfaces are open."""
    delete_entry(client, client.journal.entry_ids()[0])
    for item in client.trash.items():
        record.begin_purge(item.id, client.trash.texts(item.id))
    for command in (("trash", "empty", "--yes"), ("backup", "renew")):  # today's backup may hold what was removed since
        if (done := charlie(home, *command)).code:
            record.problems.append(f"{command} ended with {done.code}: {done.err}")
    record.count("trash emptied and backups renewed")


def _run(steps: list[Callable[[], None]], seconds: float, record: Record, killer: Killer) -> None:
    """Repeats each step on its own thread for so long, and kills meanwhile."""
    ended = threading.Event()
    record.began = time.monotonic()

    def repeat(step: Callable[[], None]) -> None:
        while not ended.is_set():
            try:
                step()
            except Exception as error:  # noqa: BLE001  # the others go on, and the report has it
                record.problems.append(f"{type(error).__name__}: {error}"[:2000])
                return

    threads = [threading.Thread(target=repeat, args=(step,), name=repr(step), daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    for number in range(1, 4):
        ended.wait(max(0.0, record.began + seconds * number / 4 - time.monotonic()))
        killer.kill_next()
    ended.wait(max(0.0, record.began + seconds - time.monotonic()))
    ended.set()
    join(*threads, seconds=LAST_STEP_SECONDS)
