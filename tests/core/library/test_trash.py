"""The trash: what is deleted comes back whole, also against imports and other writers, and what leaves it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from app.client import Client
from app.library_changes import bring_back, delete_conversation, delete_entry
from app.purge import purge
from core.database import keys
from core.errors import NotFoundError
from core.library.records import Conversation, Entry, EntryState, Restored, StoredMessage
from core.library.trash import KEPT_SECONDS, TrashItem, TrashKind
from core.paths import find_paths
from core.settings_file import load_settings
from tests.core.library.lost_answers import answer_lost
from tests.core.library.test_library import together

ROUNDS = 20
WORDS = "sesame ünd öffne"


def conversation_of(client: Client, *turns: StoredMessage) -> Conversation:
    made = client.conversations.new_conversation("A talk")
    for turn in turns:
        client.conversations.put_message(made.id, turn)
    return client.conversations.conversation(made.id)


def in_both_places(client: Client) -> list[str]:
    """The ids that are in the trash and in the library at once, or listed without a record."""
    found = []
    for id_ in client.redis.zrange(keys.TRASH, 0, -1):
        live = client.redis.exists(keys.entry(id_), keys.conversation(id_), keys.messages(id_))
        held = client.redis.exists(keys.trashed(keys.entry(id_)), keys.trashed(keys.conversation(id_)))
        if live or not held:
            found.append(id_)
    listed = [*client.redis.zrange(keys.ENTRIES, 0, -1), *client.redis.zrange(keys.CONVERSATIONS, 0, -1)]
    return found + [id_ for id_ in listed if not client.redis.exists(keys.entry(id_), keys.conversation(id_))]


def keys_with(client: Client, *words: str) -> list[str]:
    """The keys whose name or value has one of the words, as it is or escaped as in JSON."""
    wanted = [form for word in words for form in (word.encode(), word.encode("ascii", "backslashreplace"))]
    found = []
    for key in client._raw.scan_iter(count=1000):
        match client._raw.type(key):
            case b"string":
                values = [client._raw.get(key)]
            case b"hash":
                values = [part for pair in client._raw.hgetall(key).items() for part in pair]
            case b"list":
                values = client._raw.lrange(key, 0, -1)
            case b"set":
                values = list(client._raw.smembers(key))
            case b"zset":
                values = client._raw.zrange(key, 0, -1)
            case b"stream":
                values = [part for _, each in client._raw.xrange(key) for pair in each.items() for part in pair]
            case other:
                raise AssertionError(other)
        if any(word in value for word in wanted for value in (key, *values)):
            found.append(key.decode())
    return found


def test_a_deleted_entry_is_in_the_trash_with_its_revisions_and_comes_back_whole(client: Client) -> None:
    entry = client.journal.new_entry("before")
    entry = client.journal.write_entry(entry.id, "A title\nand text")
    before = time.time()
    assert client.journal.delete_entry(entry.id)
    assert not client.journal.delete_entry(entry.id)
    (item,) = client.trash.items()
    assert (item.id, item.kind, item.title) == (entry.id, TrashKind.ENTRY, "A title")
    assert before <= item.deleted <= time.time()
    assert client.trash.item(entry.id) == item
    assert client.journal.entries() == []
    with pytest.raises(NotFoundError):
        client.journal.entry(entry.id)
    assert bring_back(client, item) == replace(entry, revision=entry.revision + 1)
    assert client.journal.entries() == [replace(entry, revision=entry.revision + 1)]
    assert [each.text for each in client.history.revisions(entry.id)] == ["before"]
    assert client.trash.items() == []
    with pytest.raises(NotFoundError):
        client.trash.item(entry.id)
    assert not client.redis.keys("charlie:trash*")


def test_a_deleted_conversation_comes_back_with_its_turns_in_order(client: Client) -> None:
    turns = [StoredMessage(f"{number:02}", "user" if number % 2 else "assistant", str(number)) for number in range(30)]
    talk, empty = conversation_of(client, *turns), conversation_of(client)
    for each in (talk, empty):
        assert client.conversations.delete_conversation(each.id)
    assert client.conversations.conversations() == []
    assert client.conversations.messages(talk.id) == []
    assert [(item.id, item.kind, item.title) for item in client.trash.items()] == [
        (empty.id, TrashKind.CONVERSATION, "A talk"),
        (talk.id, TrashKind.CONVERSATION, "A talk"),
    ]
    for item in client.trash.items():
        bring_back(client, item)
    assert client.conversations.messages(talk.id) == turns
    assert client.conversations.conversation(talk.id) == talk
    assert {each.id for each in client.conversations.conversations()} == {talk.id, empty.id}
    assert not client.redis.keys("charlie:trash*")


@pytest.mark.parametrize("kind", list(TrashKind))
def test_a_deletion_and_a_return_whose_answers_were_lost_happen_once(client: Client, kind: TrashKind) -> None:
    if kind is TrashKind.ENTRY:
        id_ = client.journal.new_entry("text").id
        revision = client.journal.entry(id_).revision
        with answer_lost(client):
            client.journal.delete_entry(id_)
        with answer_lost(client):
            taken = client.journal.bring_back(id_)
        assert taken == client.journal.entry(id_)
        assert taken.revision == revision + 1
    else:
        talk = conversation_of(client, StoredMessage("1", "user", "text"))
        id_ = talk.id
        with answer_lost(client):
            client.conversations.delete_conversation(id_)
        with answer_lost(client):
            assert client.conversations.bring_back(id_) == talk
        assert len(client.conversations.messages(id_)) == 1
    assert client.trash.items() == []
    assert in_both_places(client) == []


def test_what_is_not_in_the_trash_is_not_brought_back(client: Client) -> None:
    with pytest.raises(NotFoundError):
        client.journal.bring_back("nosuch")
    with pytest.raises(NotFoundError):
        client.conversations.bring_back("nosuch")


@pytest.mark.parametrize("updated", [-1.0, 1.0])
def test_an_import_of_an_entry_in_the_trash_keeps_its_text_as_a_revision(client: Client, updated: float) -> None:
    entry = client.journal.new_entry("in the trash")
    client.journal.delete_entry(entry.id)
    imported = replace(entry, text="imported", updated=entry.updated + updated, state=EntryState.INDEXED)
    assert client.journal.restore_entries([imported]) == [Restored.ADDED]
    found = client.journal.entry(entry.id)
    assert (found.text, found.state) == ("imported", EntryState.SAVED)
    assert found.revision > entry.revision
    assert [each.text for each in client.history.revisions(entry.id)] == ["in the trash"]
    assert client.journal.entry_ids() == [entry.id]
    assert client.trash.items() == []
    assert not client.redis.keys("charlie:trash*")


def test_an_entry_that_was_deleted_imported_and_deleted_again_loses_no_text(client: Client) -> None:
    entry = client.journal.new_entry("first")
    client.journal.delete_entry(entry.id)
    client.journal.restore_entries([replace(entry, text="second", updated=entry.updated + 1)])
    client.journal.delete_entry(entry.id)
    assert client.journal.bring_back(entry.id).text == "second"
    assert [each.text for each in client.history.revisions(entry.id)] == ["first"]


@pytest.mark.parametrize("updated", [-1.0, 1.0])
def test_an_import_takes_a_conversation_from_the_trash(client: Client, updated: float) -> None:
    turns = [StoredMessage("1", "user", "question"), StoredMessage("2", "assistant", "reply")]
    talk = conversation_of(client, *turns)
    client.conversations.delete_conversation(talk.id)
    imported = replace(talk, updated=talk.updated + updated)
    assert client.conversations.restore_conversation(imported, turns[:1]) is Restored.ADDED
    assert client.conversations.messages(talk.id) == turns
    assert [each.id for each in client.conversations.conversations()] == [talk.id]
    assert client.trash.items() == []
    assert not client.redis.keys("charlie:trash*")


def test_only_what_was_deleted_thirty_days_ago_has_expired(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = client.journal.new_entry("old"), client.journal.new_entry("new")
    client.journal.delete_entry(old.id)
    deleted = client.trash.item(old.id).deleted
    monkeypatch.setattr("time.time", lambda: deleted + KEPT_SECONDS - 1)
    client.journal.delete_entry(new.id)
    assert client.trash.expired() == []
    monkeypatch.setattr("time.time", lambda: deleted + KEPT_SECONDS)
    assert client.trash.expired() == [old.id]


def test_a_purge_leaves_nothing_in_any_key(client: Client) -> None:
    entry = client.journal.new_entry(f"{WORDS} 1")
    client.journal.write_entry(entry.id, f"{WORDS} 2")
    client.journal.mark_entries({entry.id: 2}, EntryState.INDEXED)
    client.journal.describe_entry(entry.id, 2, f"{WORDS} 3")
    talk = conversation_of(client, StoredMessage("1", "user", WORDS), StoredMessage("2", "assistant", f"{WORDS} 4"))
    client.conversations.rename_conversation(talk.id, f"{WORDS} 5")
    client.conversations.delete_messages(talk.id, ["2"])
    other = client.journal.new_entry("stays")
    client.journal.delete_entry(other.id)
    client.journal.delete_entry(entry.id)
    client.conversations.delete_conversation(talk.id)
    # A worker that was killed between storing an entry's vectors and looking whether the entry was deleted.
    client.redis.sadd(keys.INDEXES, keys.vectors("model"))
    client.redis.hset(keys.vectors("model"), mapping={entry.id: f'["{WORDS}"]', other.id: "[]"})
    texts = "\n".join(client.trash.texts(entry.id) + client.trash.texts(talk.id))
    assert texts.count(WORDS) == 6
    assert purge(client, [entry.id, talk.id, "nosuch"]).count == 2
    assert keys_with(client, WORDS) == []
    where = [key for key in keys_with(client, entry.id, talk.id) if "job" not in key]
    assert sorted(where) == [keys.CHANGES, keys.PURGED]
    assert sorted(client.redis.zrange(keys.PURGED, 0, -1)) == sorted([entry.id, talk.id])
    assert client.redis.get(keys.UNREMOVED)
    assert [item.id for item in client.trash.items()] == [other.id]
    assert client.redis.hkeys(keys.vectors("model")) == [other.id]


def test_a_purge_leaves_alone_what_was_brought_back_since(client: Client) -> None:
    """The list of what is to be purged was made a moment before."""
    entry = client.journal.new_entry("first")
    client.journal.write_entry(entry.id, "second")
    client.journal.delete_entry(entry.id)
    expired = [entry.id]
    client.journal.bring_back(entry.id)
    client.trash.purge(expired)
    assert client.journal.entry(entry.id).text == "second"
    assert [each.text for each in client.history.revisions(entry.id)] == ["first"]
    assert client.redis.zscore(keys.PURGED, entry.id) is None


def test_a_purge_whose_answer_was_lost_happens_once(client: Client) -> None:
    entry = client.journal.new_entry("text")
    client.journal.delete_entry(entry.id)
    with answer_lost(client):
        client.trash.purge([entry.id])
    assert client.redis.get(keys.UNREMOVED) == "1"
    assert client.trash.items() == []


def test_deleting_against_writing_loses_no_saved_text(client: Client) -> None:
    for number in range(ROUNDS):
        entry = client.journal.new_entry(f"{number} begun", writer="one")
        saved = [entry.text]

        def write(entry: Entry = entry, saved: list[str] = saved, number: int = number) -> None:
            for step in range(5):
                try:
                    saved.append(client.journal.write_entry(entry.id, f"{number} {step}", writer=f"w{step}").text)
                except NotFoundError:
                    return

        together([write, partial(client.journal.delete_entry, entry.id)])
        (item,) = client.trash.items()
        assert in_both_places(client) == []
        found = client.journal.bring_back(item.id)
        assert [found.text, *(each.text for each in client.history.revisions(entry.id))] == saved[::-1]


def test_bringing_back_against_an_import_and_a_purge_leaves_one_whole_entry_or_none(client: Client) -> None:
    for number in range(ROUNDS):
        entry = client.journal.new_entry(f"{number} first")
        entry = client.journal.write_entry(entry.id, f"{number} second")
        client.journal.delete_entry(entry.id)
        item = client.trash.item(entry.id)
        imported = replace(entry, text=f"{number} imported", updated=entry.updated + 1)

        def take(item: TrashItem = item) -> None:
            try:
                client.journal.bring_back(item.id)
            except NotFoundError:  # purged
                return

        works: list[Callable[[], object]] = [take, partial(client.journal.restore_entries, [imported])]
        if number % 2:
            works.append(partial(client.trash.purge, [item.id]))
        together(works)
        assert in_both_places(client) == []
        found = client.journal.entry(entry.id)
        kept = [each.text for each in client.history.revisions(entry.id)]
        assert found.text == imported.text
        assert kept == [f"{number} second", f"{number} first"] or (number % 2 and kept == [])
        assert client.trash.items() == []


def test_a_reply_that_is_replaced_while_its_conversation_is_purged_leaves_no_revision(client: Client) -> None:
    for _ in range(ROUNDS):
        talk = conversation_of(client, StoredMessage("1", "user", WORDS), StoredMessage("2", "assistant", WORDS))

        def remove(talk: Conversation = talk) -> None:
            client.conversations.delete_conversation(talk.id)
            client.trash.purge([talk.id])

        together([remove, partial(client.conversations.delete_messages, talk.id, ["2"])])
        assert keys_with(client, WORDS) == []


def test_the_interfaces_deletions_announce_the_change_and_withdraw_jobs(client: Client, home: Path) -> None:
    other = Client(load_settings(), find_paths())
    entry, talk = client.journal.new_entry("text"), conversation_of(client, StoredMessage("1", "user", "text"))
    client.ingest(entry)
    delete_entry(other, entry.id)
    delete_conversation(other, talk.id)
    assert client.queue() == []
    assert {item.id for item in client.trash.items()} == {entry.id, talk.id}
    other.close()
