"""Revisions: what a save replaces is kept, whoever was there first, and for as long as promised."""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from itertools import pairwise

import pytest

from app.client import Client
from core.database import keys
from core.errors import NotFoundError
from core.library.history import KEPT_REVISIONS, KEPT_SECONDS, SAME_SITTING, SHRINK
from core.library.records import RevisionKind, StoredMessage
from core.paths import find_paths
from core.settings_file import load_settings
from tests.core.library.lost_answers import answer_lost

DAY = 24 * 3600.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as one number that a test can change."""
    now = [time.time()]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


def earlier(client: Client, subject: str) -> list[str]:
    return [revision.text for revision in client.history.revisions(subject)]


def test_a_save_on_another_writers_text_keeps_that_text_and_tells_it(client: Client) -> None:
    entry = client.journal.new_entry("begun", writer="one")
    first = client.journal.write_entry(entry.id, "by one", entry.revision, "one")
    second = client.journal.write_entry(entry.id, "by two", entry.revision, "two")
    assert first.revision == entry.revision + 1
    assert second.revision > entry.revision + 1
    assert earlier(client, entry.id) == ["by one", "begun"]
    assert client.history.revisions(entry.id)[0].at == first.updated
    assert client.journal.entry(entry.id).text == "by two"


def test_a_save_that_knows_the_other_writers_text_is_told_of_no_conflict(client: Client) -> None:
    entry = client.journal.new_entry("by one", writer="one")
    written = client.journal.write_entry(entry.id, "by one, then two", entry.revision, "two")
    assert written.revision == entry.revision + 1
    assert earlier(client, entry.id) == ["by one"]


def test_two_editors_with_one_base_in_one_sitting_lose_nothing(client: Client, clock: list[float]) -> None:
    """Also the text of a writer that is the writer of the stored text, when its base is older."""
    entry = client.journal.new_entry("0", writer="w")
    for number in range(1, 6):
        clock[0] += 1
        client.journal.write_entry(entry.id, str(number), entry.revision, "w")
    assert earlier(client, entry.id) == ["4", "3", "2", "1", "0"]


def test_of_one_sitting_about_one_text_in_five_minutes_is_kept(client: Client, clock: list[float]) -> None:
    entry = client.journal.new_entry("0", writer="w")
    for second in range(1, 1000):
        clock[0] += 1
        entry = client.journal.write_entry(entry.id, str(second), entry.revision, "w")
    replaced = [revision.replaced for revision in reversed(client.history.revisions(entry.id))]
    assert len(replaced) == 4
    assert all(later - before == pytest.approx(SAME_SITTING, abs=2) for before, later in pairwise(replaced))


def test_the_text_that_a_sitting_ended_with_is_kept_when_the_next_one_begins(
    client: Client, clock: list[float]
) -> None:
    """An interface stays open for days, so its writer is the same; the text stood for a day."""
    entry = client.journal.new_entry("first", writer="w")
    clock[0] += 10
    entry = client.journal.write_entry(entry.id, "the text of Monday", entry.revision, "w")
    clock[0] += DAY
    entry = client.journal.write_entry(entry.id, "the text of Tuesday", entry.revision, "w")
    assert earlier(client, entry.id) == ["the text of Monday", "first"]


@pytest.mark.parametrize(("cut", "kept"), [(SHRINK - 1, False), (SHRINK, True)])
def test_a_text_that_shrinks_leaves_the_longer_one(client: Client, cut: int, kept: bool) -> None:
    entry = client.journal.new_entry("", writer="w")
    entry = client.journal.write_entry(entry.id, "a", entry.revision, "w")
    entry = client.journal.write_entry(entry.id, "b", entry.revision, "w")
    long = "x" * 500
    entry = client.journal.write_entry(entry.id, long, entry.revision, "w")
    client.journal.write_entry(entry.id, long[cut:], entry.revision, "w")
    assert (long in earlier(client, entry.id)) is kept


def test_an_empty_text_is_no_revision(client: Client) -> None:
    entry = client.journal.new_entry(" \n", writer="one")
    client.journal.write_entry(entry.id, "text", entry.revision, "two")
    assert earlier(client, entry.id) == []


def test_an_unchanged_text_changes_nothing(client: Client) -> None:
    entry = client.journal.new_entry("text", writer="one")
    assert client.journal.write_entry(entry.id, "text", entry.revision, "two") == entry
    assert earlier(client, entry.id) == []


def test_the_latest_twenty_are_kept(client: Client) -> None:
    entry = client.journal.new_entry("0")
    for number in range(1, KEPT_REVISIONS + 6):
        client.journal.write_entry(entry.id, str(number))
    assert earlier(client, entry.id) == [str(number) for number in range(KEPT_REVISIONS + 4, 4, -1)]


def test_a_revision_is_kept_for_thirty_days_from_the_time_it_was_replaced(client: Client, clock: list[float]) -> None:
    entry = client.journal.new_entry("first")
    clock[0] += 400 * DAY
    client.journal.write_entry(entry.id, "second")
    clock[0] += 29 * DAY
    client.journal.write_entry(entry.id, "third")
    (second, first) = client.history.revisions(entry.id)
    clock[0] += DAY
    assert client.history.revisions(entry.id) == [second]
    with pytest.raises(NotFoundError, match="no revision"):
        client.history.revision(entry.id, first.id)
    assert client.history.revision(entry.id, second.id) == second
    assert client.history.forget_old() == 1
    assert client.redis.lrange(keys.revisions(entry.id), 0, -1) == [json.dumps(asdict(second))]
    assert client.redis.get(keys.UNREMOVED) == "1"
    clock[0] += KEPT_SECONDS
    assert client.history.forget_old() == 1
    assert not client.redis.exists(keys.revisions(entry.id))
    assert client.history.forget_old() == 0
    assert client.redis.get(keys.UNREMOVED) == "2"


def test_a_text_that_came_back_and_is_replaced_again_is_kept_for_thirty_days_more(
    client: Client, clock: list[float]
) -> None:
    entry = client.journal.new_entry("the old text", writer="w")
    entry = client.journal.write_entry(entry.id, "another", entry.revision, "w")
    entry = client.journal.write_entry(entry.id, "the old text", entry.revision, "w")
    clock[0] += 29 * DAY
    client.journal.write_entry(entry.id, "a new one", entry.revision, "w")
    clock[0] += 2 * DAY
    assert earlier(client, entry.id) == ["the old text"]


def test_a_save_whose_answer_was_lost_keeps_the_old_text_once(client: Client) -> None:
    entry = client.journal.new_entry("before", writer="one")
    with answer_lost(client):
        written = client.journal.write_entry(entry.id, "after", entry.revision, "two")
    assert written == client.journal.entry(entry.id)
    assert written.revision == entry.revision + 1
    assert earlier(client, entry.id) == ["before"]


def test_a_new_entry_whose_answer_was_lost_is_stored_once(client: Client) -> None:
    with answer_lost(client):
        entry = client.journal.new_entry("new")
    assert client.journal.entries() == [entry]


def test_a_repeated_new_entry_does_not_overwrite_what_was_written_since(client: Client) -> None:
    """The first save was stored, but failed for its caller, whose text has grown; another interface was there."""
    entry = client.journal.new_entry("begun", writer="one")
    other = client.journal.write_entry(entry.id, "changed by another", entry.revision, "two")
    again = client.journal.new_entry("begun, and went on", entry.id, "one")
    assert again.revision == other.revision + 1
    assert client.journal.entries() == [again]
    assert earlier(client, entry.id) == ["changed by another", "begun"]


def test_a_repeated_new_entry_does_not_revive_what_was_deleted_since(client: Client) -> None:
    entry = client.journal.new_entry("begun")
    client.journal.delete_entry(entry.id)
    assert client.journal.new_entry("begun", entry.id) == entry
    assert client.journal.entries() == []
    other = client.journal.new_entry("begun, and went on", entry.id)
    assert other.id != entry.id
    assert client.journal.entries() == [other]
    assert [item.id for item in client.trash.items()] == [entry.id]


def test_an_import_keeps_the_text_that_it_replaces(client: Client) -> None:
    entry = client.journal.new_entry("here", writer="one")
    newer = entry.__class__(entry.id, "from the export", entry.created, entry.updated + 1)
    client.journal.restore_entries([newer])
    with_old_base = client.journal.write_entry(entry.id, "typed", entry.revision, "one")
    assert with_old_base.revision > entry.revision + 1
    assert earlier(client, entry.id) == ["from the export", "here"]


def test_replaced_titles_and_replies_are_kept(client: Client) -> None:
    conversation = client.conversations.new_conversation("First title")
    client.conversations.rename_conversation(conversation.id, "Second title")
    client.conversations.rename_conversation(conversation.id, "Second title")
    asked, reply = StoredMessage("1", "user", "question"), StoredMessage("2", "assistant", "a reply")
    for message in (asked, reply):
        client.conversations.put_message(conversation.id, message)
    client.conversations.delete_messages(conversation.id, ["1", "2", "3"])
    found = client.history.revisions(conversation.id)
    assert [(each.kind, each.text, each.message) for each in found] == [
        (RevisionKind.REPLY, "a reply", "2"),
        (RevisionKind.TITLE, "First title", ""),
    ]
    assert found[0].at == reply.at


def test_a_reply_that_is_deleted_with_a_lost_answer_is_kept_once(client: Client) -> None:
    conversation = client.conversations.new_conversation("title")
    client.conversations.put_message(conversation.id, StoredMessage("1", "assistant", "a reply"))
    with answer_lost(client):
        client.conversations.delete_messages(conversation.id, ["1"])
    with answer_lost(client):
        client.conversations.rename_conversation(conversation.id, "another title")
    assert earlier(client, conversation.id) == ["title", "a reply"]


def write_in_turns(id_: str, name: str, rounds: int) -> list[str]:
    """Write an entry as an editor does, each time with the base that it last saw; returns what was saved."""
    client = Client(load_settings(), find_paths())
    saved = []
    base = client.journal.entry(id_).revision
    for number in range(rounds):
        text = f"{name} {number}"
        base = client.journal.write_entry(id_, text, base, f"{name} {number}").revision
        saved.append(text)
    client.close()
    return saved


def test_threads_and_processes_that_write_one_entry_lose_nothing(client: Client) -> None:
    entry = client.journal.new_entry("begun", writer="first")
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawned) as processes, ThreadPoolExecutor(3) as threads:
        works = [
            executor.submit(write_in_turns, entry.id, f"{kind} {number}", 4)
            for executor, kind, count in ((processes, "process", 2), (threads, "thread", 3))
            for number in range(count)
        ]
        saved = [text for work in works for text in work.result(timeout=60)]
    assert len(saved) == KEPT_REVISIONS
    now = client.journal.entry(entry.id)
    assert now.revision == len(saved) + 1
    assert sorted([now.text, *earlier(client, entry.id)]) == sorted(["begun", *saved])
