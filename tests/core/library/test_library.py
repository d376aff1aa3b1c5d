"""Conversations and entries: concurrent writes, and every kind of text."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.client import Client
from core.database.ids import next_id
from core.errors import CharlieError, NotFoundError
from core.library.conversations import Conversations
from core.library.journal import PAGE_ENTRIES
from core.library.markdown import markdown_of_entry
from core.library.records import Entry, EntryState, MessageState, StoredMessage
from core.text import fold, new_id
from tests.waiting import join

STRANGE = {
    "controls": "a\x01b\x1c\x1d\x1e\x1f\x7f\x85\x9f",
    "a byte order mark within": "a\ufeffb",
    "right to left": "\u202eabc\u202c \u05e9\u05dc\u05d5\u05dd \u0633\u0644\u0627\u0645",
    "escape sequences": "\x1b[2J\x1b]0;title\x07\x9b31m",
    "1 MB on one line": "x" * 2**20,
    "line ends of all kinds": "a\nb\u2028c\u2029d\x0be\x0cf\x85\n\n",
    "an emoji of several parts": "\U0001f469\u200d\U0001f4bb",
}


def together(works: list[Callable[[], object]]) -> None:
    """Run all at once, each on its own thread."""
    gate = threading.Barrier(len(works))
    failed: list[Exception] = []

    def run(work: Callable[[], object]) -> None:
        gate.wait(20)
        try:
            work()
        except Exception as error:  # noqa: BLE001  # raised again in the test's thread
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    join(*threads)
    assert failed == []


def said(text: str) -> StoredMessage:
    return StoredMessage(new_id(), "user", text)


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_every_kind_of_text_is_stored_whole(client: Client, text: str) -> None:
    conversation = client.conversations.new_conversation(text)
    client.conversations.put_message(conversation.id, said(text))
    entry = client.journal.new_entry("first")
    client.journal.write_entry(entry.id, text)
    assert [turn.text for turn in client.conversations.messages(conversation.id)] == [text]
    assert client.conversations.conversation(conversation.id).title == text
    assert client.journal.entry(entry.id).text == text
    assert client.journal.write_entry(entry.id, text).revision == 2


@pytest.mark.parametrize("text", ["a\0b", "\0", "a\ud800b", "\udc00\ud83d", "caf\udce9"])
def test_a_text_that_cannot_be_stored_changes_nothing(client: Client, text: str) -> None:
    conversation = client.conversations.new_conversation("title")
    entry = client.journal.new_entry("first")
    for write in (
        lambda: client.conversations.put_message(conversation.id, said(text)),
        lambda: client.conversations.rename_conversation(conversation.id, text),
        lambda: client.journal.write_entry(entry.id, text),
        lambda: client.journal.new_entry(text),
        lambda: client.chat(conversation.id, text),
        lambda: client.ask(text),
        lambda: client.search(text),
    ):
        with pytest.raises(CharlieError, match=r"^The text has a .*\."):
            write()
    assert client.conversations.messages(conversation.id) == []
    assert client.conversations.conversation(conversation.id) == conversation
    assert client.journal.entries() == [entry]
    assert client.queue() == []


def test_a_reply_of_a_model_is_never_refused(client: Client) -> None:
    conversation = client.conversations.new_conversation()
    client.conversations.put_message(conversation.id, StoredMessage("m", "assistant", "a\0b\ud800"))
    assert client.conversations.messages(conversation.id)[0].text == "a\0b\ufffd"


def test_line_ends_and_byte_order_marks_are_the_only_change(client: Client) -> None:
    typed, stored = "\ufeff\ufeffa\r\nb\rc\n\r\ud83d\ude00\ufeff", "a\nb\nc\n\n\U0001f600\ufeff"
    entry = client.journal.new_entry(typed)
    assert entry.text == stored
    assert client.journal.write_entry(entry.id, typed).revision == 1


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff")))
def test_any_text_is_stored_whole(client: Client, text: str) -> None:
    assert client.journal.entry(client.journal.new_entry(text).id).text == text


def test_messages_are_in_order(client: Client) -> None:
    conversation = client.conversations.new_conversation()
    turns = [said(str(number)) for number in range(50)]
    for turn in reversed(turns):
        client.conversations.put_message(conversation.id, turn)
    assert client.conversations.messages(conversation.id) == turns
    assert client.conversations.conversation(conversation.id).title == "49"


def test_a_message_may_be_stored_twice(client: Client) -> None:
    conversation = client.conversations.new_conversation("t")
    turn = said("hello")
    client.conversations.put_message(conversation.id, turn)
    stopped = StoredMessage(turn.id, "assistant", "bye", state=MessageState.CANCELLED, stats={"n": 1})
    client.conversations.put_message(conversation.id, stopped)
    assert client.conversations.messages(conversation.id) == [stopped]
    client.conversations.delete_messages(conversation.id, [turn.id])
    client.conversations.delete_messages(conversation.id, [])
    assert client.conversations.messages(conversation.id) == []


def test_a_branch_has_the_earlier_messages(client: Client) -> None:
    conversation = client.conversations.new_conversation("t")
    turns = [said(str(number)) for number in range(4)]
    for turn in turns:
        client.conversations.put_message(conversation.id, turn)
    branch = client.conversations.branch(conversation.id, turns[2].id, "Another end")
    assert branch.title == "Another end"
    assert client.conversations.messages(branch.id) == turns[:2]
    assert client.conversations.messages(conversation.id) == turns
    assert branch.id != conversation.id
    client.conversations.delete_conversation(conversation.id)
    assert client.conversations.messages(branch.id) == turns[:2]


def test_the_last_used_conversation_is_first(client: Client) -> None:
    one, two = client.conversations.new_conversation("1"), client.conversations.new_conversation("2")
    assert [each.id for each in client.conversations.conversations()] == [two.id, one.id]
    client.conversations.put_message(one.id, said("hello"))
    assert [each.id for each in client.conversations.conversations()] == [one.id, two.id]
    client.conversations.delete_conversation(one.id)
    assert [each.id for each in client.conversations.conversations()] == [two.id]
    assert client.conversations.messages(one.id) == []
    with pytest.raises(NotFoundError):
        client.conversations.conversation(one.id)
    with pytest.raises(NotFoundError):
        client.conversations.put_message(one.id, said("late"))


def test_the_newest_entry_is_first_and_a_deleted_one_is_gone(client: Client) -> None:
    one, two = client.journal.new_entry("\n \n# Title\nrest"), client.journal.new_entry("  ")
    assert (one.title, two.title) == ("Title", "Untitled")
    assert client.journal.entries() == [two, one]
    assert client.journal.entries_of([one.id, "none", two.id]) == [one, two]
    assert client.journal.entries_of([]) == []
    client.journal.delete_entry(two.id)
    assert client.journal.entries() == [one]
    for call in (client.journal.entry, lambda id_: client.journal.write_entry(id_, "x")):
        with pytest.raises(NotFoundError):
            call(two.id)


def test_a_mark_of_an_old_revision_has_no_effect(client: Client) -> None:
    entry = client.journal.new_entry("one")
    client.journal.mark_entries({entry.id: 1}, EntryState.INDEXED)
    assert (client.journal.entry(entry.id).state, client.journal.entry(entry.id).ingested) == (EntryState.INDEXED, 1)
    changed = client.journal.write_entry(entry.id, "two")
    assert (changed.revision, changed.ingested, changed.state) == (2, 1, EntryState.SAVED)
    client.journal.mark_entries({entry.id: 1}, EntryState.FAILED, "late")
    assert client.journal.entry(entry.id) == changed
    client.journal.mark_entries({entry.id: 2}, EntryState.FAILED, "broken")
    assert client.journal.entry(entry.id).error == "broken"
    assert client.journal.write_entry(entry.id, "three").error == ""
    client.journal.mark_entries({"none": 1}, EntryState.INDEXED)
    with pytest.raises(NotFoundError):
        client.journal.entry("none")


def test_concurrent_writes_to_one_conversation(client: Client) -> None:
    """Every message is kept, and the title that another thread gives."""
    conversation = client.conversations.new_conversation("old")

    def write() -> None:
        own = Conversations(Client(client.settings, client.paths).redis)
        for _ in range(25):
            own.put_message(conversation.id, said("hello"))

    together([*[write] * 4, lambda: client.conversations.rename_conversation(conversation.id, "new")])
    assert len(client.conversations.messages(conversation.id)) == 100
    assert client.conversations.conversation(conversation.id).title == "new"


def test_concurrent_writes_to_one_entry(client: Client) -> None:
    """Each write has its own revision, so a mark never fits another text."""
    entry = client.journal.new_entry("start")
    revisions: list[tuple[int, str]] = []

    def write(name: str) -> None:
        for number in range(25):
            written = client.journal.write_entry(entry.id, f"{name} {number}")
            revisions.append((written.revision, written.text))

    together([lambda name=name: write(name) for name in "abcd"])  # type: ignore[misc]
    assert sorted(revision for revision, _ in revisions) == list(range(2, 102))
    last = client.journal.entry(entry.id)
    assert (last.revision, last.text) == max(revisions)


def test_concurrent_writes_do_not_revive_deleted_records(client: Client) -> None:
    for _ in range(20):
        entry, conversation = client.journal.new_entry("start"), client.conversations.new_conversation("t")

        def write(entry_id: str = entry.id, conversation_id: str = conversation.id) -> None:
            try:
                for number in range(20):
                    client.conversations.put_message(conversation_id, said("late"))
                    client.journal.write_entry(entry_id, str(number))
            except NotFoundError:
                return

        def delete(entry_id: str = entry.id, conversation_id: str = conversation.id) -> None:
            client.conversations.delete_conversation(conversation_id)
            client.journal.delete_entry(entry_id)

        together([write, write, delete])
        assert client.journal.entries() == []
        assert client.conversations.conversations() == []
        assert client.conversations.messages(conversation.id) == []


def test_ids_increase_when_the_clock_is_set_back(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next_id(client.redis)
    monkeypatch.setattr("core.database.ids.time.time_ns", lambda: 0)
    ids = [first, next_id(client.redis), next_id(client.redis), next_id(client.redis, after="08" + "9" * 20)]
    assert ids == sorted(ids)
    assert ids[-1] > "08" + "9" * 20 > ids[-2]
    assert "9" > next_id(client.redis, after="9" * 22) > ids[-1]


def test_times_increase_when_the_clock_is_set_back(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    used, other, entry = (
        client.conversations.new_conversation("used"),
        client.conversations.new_conversation("other"),
        client.journal.new_entry("old"),
    )
    monkeypatch.setattr("core.library.conversations.time.time", lambda: 1000.0)
    assert client.journal.write_entry(entry.id, "new").updated > entry.updated
    client.conversations.put_message(used.id, StoredMessage(new_id(), "user", "again", at=1000.0))
    assert [each.id for each in client.conversations.conversations()] == [used.id, other.id]
    client.conversations.new_conversation("last")
    assert client.conversations.conversations()[0].title == "last"


@pytest.mark.slow
@pytest.mark.parametrize("text", ["STRASSE", "straße", '"', "\\", "k", "\u212a", "", "Stráße"])
def test_entries_that_contain_a_text_are_read_in_pages(client: Client, text: str) -> None:
    texts = ["In der Straße", 'He said "yes"', "a \\ b", "270 \u212a", *("nothing" for _ in range(PAGE_ENTRIES))]
    for each in texts:
        client.journal.new_entry(each)
    read, start = list[Entry](), 0
    while True:
        found, next_ = client.journal.read_entries(start, 1, text)
        read += found
        if next_ is None:
            break
        start = next_
    assert read == [each for each in client.journal.entries() if fold(text) in fold(each.text)]


@pytest.mark.parametrize("sought", ["caf\u00e9", "cafe\u0301", "CAFE"])
def test_entries_and_conversations_are_found_in_each_form(client: Client, sought: str) -> None:
    entries = [client.journal.new_entry(text) for text in ("a cafe\u0301", "the caf\u00e9", "cafe", "tea")]
    assert client.journal.read_entries(0, 10, sought)[0] == entries[2::-1]
    ids = []
    for text in ("a cafe\u0301", "the caf\u00e9", "cafe", "tea"):
        ids.append(client.conversations.new_conversation("Title").id)
        client.conversations.put_message(ids[-1], StoredMessage(new_id(), "user", "First"))
        client.conversations.put_message(ids[-1], StoredMessage(new_id(), "assistant", text))
    assert client.conversations.containing(sought) == set(ids[:3])
    assert client.conversations.containing(sought, lambda: True) == set()


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ndate: 2021-05-03\ntags:\n  - walk\n- b\n# c\n\n---\n\nBy the river", "By the river"),
        ("---\ntitle: x\n---", "Untitled"), ("---\nA line\n---\nmore", "---"), ("---\nkey: value\nA line", "---"),
        ("-- a\n---", "-- a"), ("\u2028Second\u2028third", "Second"),
    ],
)  # fmt: skip
def test_front_matter_is_no_title(text: str, title: str) -> None:
    assert Entry("1", text, 0.0, 0.0).title == title


def test_an_entry_has_the_zone_in_which_it_was_written(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    entry = client.journal.new_entry("One")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert client.journal.write_entry(entry.id, "Two", entry.revision).zone == "Asia/Tokyo"
    dated = replace(entry, created=0.0)
    assert markdown_of_entry(dated).startswith("*Written 1970-01-01 09:00")
