"""Conversations and entries: what several write at once, and text of every kind."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.client import Client
from core.errors import NotFoundError
from core.ids import next_id
from core.library import PART, Entry, EntryState, Library, MessageState, StoredMessage
from core.text import clean, new_id

STRANGE = {
    "NUL": "a\x00b",
    "a lone surrogate": "a\ud800b\udfff",
    "right to left": "\u202eabc\u202c \u05e9\u05dc\u05d5\u05dd \u0633\u0644\u0627\u0645",
    "escape sequences": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "1 MB on one line": "x" * 2**20,
    "line ends of all kinds": "a\r\nb\rc\u2028d\x0be",
    "an emoji of several parts": "\U0001f469\u200d\U0001f4bb",
}


def together(works: list[Callable[[], object]]) -> None:
    """Run all at once, each on a thread of its own."""
    gate = threading.Barrier(len(works))
    failed: list[Exception] = []

    def run(work: Callable[[], object]) -> None:
        gate.wait()
        try:
            work()
        except Exception as error:  # noqa: BLE001  # it is raised in the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def said(text: str) -> StoredMessage:
    return StoredMessage(new_id(), "user", text)


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_text_of_every_kind_comes_back(client: Client, text: str) -> None:
    library = client.library
    conversation = library.new_conversation(text)
    library.put_message(conversation.id, said(text))
    entry = library.new_entry("first")
    library.write_entry(entry.id, text)
    expected = re.sub("[\ud800-\udfff]", "\ufffd", text)
    assert [turn.text for turn in library.messages(conversation.id)] == [expected]
    assert library.conversation(conversation.id).title == expected
    assert library.entry(entry.id).text == expected
    assert library.write_entry(entry.id, text).revision == 2


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters()))
def test_any_text_comes_back(client: Client, text: str) -> None:
    assert client.library.entry(client.library.new_entry(text).id).text == clean(text)


def test_messages_are_in_order(client: Client) -> None:
    library = client.library
    conversation = library.new_conversation()
    turns = [said(str(number)) for number in range(50)]
    for turn in reversed(turns):
        library.put_message(conversation.id, turn)
    assert library.messages(conversation.id) == turns
    assert library.conversation(conversation.id).title == "49"


def test_a_message_may_be_stored_again(client: Client) -> None:
    library = client.library
    conversation = library.new_conversation("t")
    turn = said("hello")
    library.put_message(conversation.id, turn)
    stopped = StoredMessage(turn.id, "assistant", "bye", state=MessageState.CANCELLED, stats={"n": 1})
    library.put_message(conversation.id, stopped)
    assert library.messages(conversation.id) == [stopped]
    library.delete_messages(conversation.id, [turn.id])
    library.delete_messages(conversation.id, [])
    assert library.messages(conversation.id) == []


def test_branch(client: Client) -> None:
    library = client.library
    conversation = library.new_conversation("t")
    turns = [said(str(number)) for number in range(4)]
    for turn in turns:
        library.put_message(conversation.id, turn)
    branch = library.branch(conversation.id, turns[2].id)
    assert library.messages(branch.id) == turns[:2]
    assert library.messages(conversation.id) == turns
    assert branch.id != conversation.id
    library.delete_conversation(conversation.id)
    assert library.messages(branch.id) == turns[:2]


def test_conversations_are_the_last_used_first(client: Client) -> None:
    library = client.library
    one, two = library.new_conversation("1"), library.new_conversation("2")
    assert [each.id for each in library.conversations()] == [two.id, one.id]
    library.put_message(one.id, said("hello"))
    assert [each.id for each in library.conversations()] == [one.id, two.id]
    library.delete_conversation(one.id)
    assert [each.id for each in library.conversations()] == [two.id]
    assert library.messages(one.id) == []
    with pytest.raises(NotFoundError):
        library.conversation(one.id)
    with pytest.raises(NotFoundError):
        library.put_message(one.id, said("late"))


def test_entries(client: Client) -> None:
    library = client.library
    one, two = library.new_entry("\n \n# Title\nrest"), library.new_entry("  ")
    assert (one.title, two.title) == ("# Title", "Untitled")
    assert library.entries() == [two, one]
    assert library.entries_of([one.id, "none", two.id]) == [one, two]
    assert library.entries_of([]) == []
    library.delete_entry(two.id)
    assert library.entries() == [one]
    for call in (library.entry, lambda id_: library.write_entry(id_, "x")):
        with pytest.raises(NotFoundError):
            call(two.id)


def test_a_mark_is_for_its_revision(client: Client) -> None:
    library = client.library
    entry = library.new_entry("one")
    library.mark_entry(entry.id, 1, EntryState.FINDABLE)
    assert (library.entry(entry.id).state, library.entry(entry.id).ingested) == (EntryState.FINDABLE, 1)
    changed = library.write_entry(entry.id, "two")
    assert (changed.revision, changed.ingested, changed.state) == (2, 1, EntryState.SAVED)
    library.mark_entry(entry.id, 1, EntryState.FAILED, "late")
    assert library.entry(entry.id) == changed
    library.mark_entry(entry.id, 2, EntryState.FAILED, "broken")
    assert library.entry(entry.id).error == "broken"
    assert library.write_entry(entry.id, "three").error == ""
    library.mark_entry("none", 1, EntryState.FINDABLE)
    with pytest.raises(NotFoundError):
        library.entry("none")


def test_many_write_one_conversation(client: Client) -> None:
    """Every message is kept, and so is the title that another gives it meanwhile."""
    library = client.library
    conversation = library.new_conversation("old")

    def write() -> None:
        own = Library(Client(client.settings, client.paths).redis)
        for _ in range(25):
            own.put_message(conversation.id, said("hello"))

    together([*[write] * 4, lambda: library.rename_conversation(conversation.id, "new")])
    assert len(library.messages(conversation.id)) == 100
    assert library.conversation(conversation.id).title == "new"


def test_many_write_one_entry(client: Client) -> None:
    """Each write has a revision of its own, so a mark can never be for another's text."""
    library = client.library
    entry = library.new_entry("start")
    revisions: list[tuple[int, str]] = []

    def write(name: str) -> None:
        for number in range(25):
            written = library.write_entry(entry.id, f"{name} {number}")
            revisions.append((written.revision, written.text))

    together([lambda name=name: write(name) for name in "abcd"])  # type: ignore[misc]
    assert sorted(revision for revision, _ in revisions) == list(range(2, 102))
    last = library.entry(entry.id)
    assert (last.revision, last.text) == max(revisions)


def test_what_is_deleted_stays_deleted(client: Client) -> None:
    """However many write at that moment."""
    library = client.library
    for _ in range(20):
        entry, conversation = library.new_entry("start"), library.new_conversation("t")

        def write(entry_id: str = entry.id, conversation_id: str = conversation.id) -> None:
            try:
                for number in range(20):
                    library.put_message(conversation_id, said("late"))
                    library.write_entry(entry_id, str(number))
            except NotFoundError:
                return

        def delete(entry_id: str = entry.id, conversation_id: str = conversation.id) -> None:
            library.delete_conversation(conversation_id)
            library.delete_entry(entry_id)

        together([write, write, delete])
        assert library.entries() == []
        assert library.conversations() == []
        assert library.messages(conversation.id) == []


def test_ids_grow_when_the_clock_is_set_back(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next_id(client.redis)
    monkeypatch.setattr("core.ids.time.time_ns", lambda: 0)
    ids = [first, next_id(client.redis), next_id(client.redis), next_id(client.redis, after="08" + "9" * 20)]
    assert ids == sorted(ids)
    assert ids[-1] > "08" + "9" * 20 > ids[-2]
    assert "9" > next_id(client.redis, after="9" * 22) > ids[-1]


def test_what_is_later_is_so_by_a_clock_that_was_set_back_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    library = client.library
    used, other, entry = library.new_conversation("used"), library.new_conversation("other"), library.new_entry("old")
    monkeypatch.setattr("core.library.time.time", lambda: 1000.0)
    assert library.write_entry(entry.id, "new").updated > entry.updated
    library.put_message(used.id, StoredMessage(new_id(), "user", "again", at=1000.0))
    assert [each.id for each in library.conversations()] == [used.id, other.id]
    library.new_conversation("last")
    assert library.conversations()[0].title == "last"


@pytest.mark.parametrize("text", ["STRASSE", "straße", '"', "\\", "k", "\u212a", ""])
def test_entries_are_read_in_parts_by_what_is_in_them(client: Client, text: str) -> None:
    texts = ["In der Straße", 'He said "yes"', "a \\ b", "270 \u212a", *("nothing" for _ in range(PART))]
    for each in texts:
        client.library.new_entry(each)
    read, start = list[Entry](), 0
    while True:
        found, next_ = client.library.read_entries(start, 1, text)
        read += found
        if next_ is None:
            break
        start = next_
    assert read == [each for each in client.library.entries() if text.casefold() in each.text.casefold()]
