"""What is due is done while Charlie is idle and when it ends: removing, rewriting, the daily backup. All is real."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.client import Client
from app.library_changes import delete_entry
from app.purge import purge
from app.runtime import upkeep
from app.runtime.owner import Runtime
from core.database import keys
from core.database.rewrite import rewrite, unremoved
from core.events.types import JobKind
from core.library.backups import Backups, today
from core.library.trash import KEPT_SECONDS
from core.paths import find_paths
from core.settings_file import load_settings
from tests.app.commands.charlie import charlie, read_until, started
from tests.e2e.processes import until

WRITTEN = "Tulips of the neighbour"


def new_client() -> Client:
    return Client(load_settings(), find_paths())


def removed_entry(client: Client) -> None:
    """One entry that left the trash, and one that stays."""
    client.journal.new_entry("This one stays.")
    entry = client.journal.new_entry(WRITTEN)
    delete_entry(client, entry.id)
    purge(client, [entry.id])


def file_holds_it() -> bool:
    return WRITTEN.encode() in (find_paths().database / "appendonly.aof").read_bytes()


def backups() -> list[str]:
    return Backups(find_paths().backups).names()


def test_at_the_end_the_file_is_rewritten_and_a_backup_made(home: Path) -> None:
    client, notes = new_client(), list[str]()
    with Runtime(client, worker=False, note=notes.append):
        removed_entry(client)
        assert file_holds_it()
    assert not file_holds_it()
    assert backups() == [today()]
    library = json.loads((find_paths().backups / today() / "library.json").read_text())
    assert [each["text"] for each in library["entries"]] == ["This one stays."]
    assert notes == []
    again = new_client()
    with Runtime(again, worker=False):
        assert unremoved(again.redis) == 0
        assert [entry.text for entry in again.journal.entries()] == ["This one stays."]


@pytest.mark.slow
def test_once_a_day_and_not_when_it_is_off_or_nothing_is_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert charlie(home, "journal", "list").code == 0
    assert backups() == []
    assert charlie(home, "journal", "add", "--no-wait", "one", CHARLIE_BACKUP__DAILY="false").code == 0
    assert backups() == []
    assert charlie(home, "journal", "add", "--no-wait", "two").code == 0
    made = (find_paths().backups / today() / "library.json").stat()
    assert charlie(home, "journal", "add", "--no-wait", "three").code == 0
    assert (find_paths().backups / today() / "library.json").stat() == made


def test_what_was_deleted_long_ago_leaves_the_trash(home: Path) -> None:
    client = new_client()
    with Runtime(client, worker=False, note=lambda _: None):
        old, new = client.journal.new_entry(WRITTEN), client.journal.new_entry("Deleted just now.")
        for entry in (old, new):
            delete_entry(client, entry.id)
        client.redis.zadd(keys.TRASH, {old.id: time.time() - KEPT_SECONDS - 1})
    assert not file_holds_it()
    with Runtime(again := new_client(), worker=False):
        assert [item.id for item in again.trash.items()] == [new.id]


def test_the_thread_works_only_while_nothing_is_queued(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK_SECONDS", 0.02)
    client = new_client()
    with Runtime(client, worker=False):
        waiting = client.submit(JobKind.UNLOAD, {})
        removed_entry(client)
        looked = threads_looks(client, 5)
        until(looked)
        assert file_holds_it()
        client.cancel(waiting.id)
        until(lambda: not file_holds_it())
        until(lambda: backups() == [today()])


def threads_looks(client: Client, count: int) -> Callable[[], bool]:
    """True after the thread has looked at the queue `count` times more."""
    looks, depth = list[None](), client.depth

    def counted() -> tuple[int, str | None]:
        looks.append(None)
        return depth()

    client.depth = counted  # type: ignore[method-assign]  # still the real one
    return lambda: len(looks) >= count


def test_a_signal_leaves_time_for_the_rewriting_only(home: Path) -> None:
    with started(home, "up") as up:
        read_until(up.stderr, "worker")
        client = new_client()
        removed_entry(client)
        client.close()
        up.send_signal(signal.SIGTERM)
        assert up.wait(20) == 0
    assert not file_holds_it()
    assert backups() == []


def test_a_failing_backup_is_logged_and_leaves_nothing(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = new_client()
    with Runtime(client, worker=False, note=lambda _: None):
        client.journal.new_entry("This one stays.")
        find_paths().backups.write_text("a file where the folder should be")
    assert "backup is missing" in caplog.text


def test_a_job_that_ran_during_the_purge_leaves_the_file_too(client: Client) -> None:
    """Its output is removed before the file is rewritten, when it has ended."""
    removed_entry(client)
    job = client.submit(JobKind.ASK, {"query": WRITTEN})
    client.cancel(job.id)
    client.jobs.forget_ended()
    assert rewrite(client.redis, 10)
    assert not file_holds_it()
