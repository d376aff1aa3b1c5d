"""Export and import: any text, any damage, repeated imports, and imports into a library that has changed since."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.client import Client
from core.errors import CharlieError
from core.library.backup_export import export_library
from core.library.backup_import import Imported, import_library
from core.library.records import Conversation, Entry, EntryState, MessageState, Restored, StoredMessage
from core.text import new_id
from tests.core.library.test_library import STRANGE

Everything = tuple[dict[str, tuple[Conversation, list[StoredMessage]]], dict[str, Entry]]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=200)
times = st.floats(-62e9, 250e9, allow_nan=False)
numbers = st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False))
messages = st.builds(
    StoredMessage,
    id=st.uuids().map(lambda id_: id_.hex[:22]),
    role=st.sampled_from(("user", "assistant")),
    text=texts,
    at=times,
    state=st.sampled_from(MessageState),
    stats=st.none() | st.dictionaries(st.sampled_from("abc"), numbers | st.none() | st.booleans()),
    reasoning=texts,
)


def everything(client: Client) -> Everything:
    talks = {each.id: (each, client.conversations.messages(each.id)) for each in client.conversations.conversations()}
    return talks, {each.id: each for each in client.journal.entries()}


def empty(client: Client) -> None:
    for conversation in client.conversations.conversations():
        client.conversations.delete_conversation(conversation.id)
        client.trash.purge([conversation.id])
    for entry in client.journal.entries():
        client.journal.delete_entry(entry.id)
        client.trash.purge([entry.id])


def fill(client: Client) -> None:
    conversation = client.conversations.new_conversation("../../etc/passwd / and more")
    client.conversations.put_message(conversation.id, StoredMessage(new_id(), "user", "Hello"))
    client.conversations.put_message(
        conversation.id, StoredMessage(new_id(), "assistant", "Hi", 5.25, MessageState.CANCELLED, {"ttft_ms": 1.5})
    )
    client.conversations.new_conversation()
    client.journal.new_entry("# One\n\nA walk.")
    client.journal.write_entry(client.journal.new_entry("two").id, "two, again")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def summed(text: str) -> bytes:
    """An export's text with its checksum."""
    return f'{text}"sha256": "{hashlib.sha256(text.encode()).hexdigest()}"}}\n'.encode()


def refused(client: Client, folder: Path) -> str:
    """The error of an import that is refused and changes nothing."""
    before = everything(client)
    with pytest.raises(CharlieError) as caught:
        import_library(client, folder)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert everything(client) == before
    return caught.value.message


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    talks=st.lists(st.tuples(texts, st.lists(messages, max_size=4)), max_size=3),
    entries=st.lists(st.tuples(texts, texts), max_size=4),
)
def test_a_round_trip_gives_the_same_library(
    client: Client, tmp_path: Path, talks: list[tuple[str, list[StoredMessage]]], entries: list[tuple[str, str]]
) -> None:
    folder = tmp_path / "export"
    for title, turns in talks:
        conversation = client.conversations.new_conversation(title)
        for turn in turns:
            client.conversations.put_message(conversation.id, turn)
    for first, second in entries:
        client.journal.write_entry(client.journal.new_entry(first).id, second)
    before = everything(client)
    export_library(client, folder)
    assert not any(import_library(client, folder).entries[each] for each in (Restored.ADDED, Restored.RENEWED))
    assert everything(client) == before
    empty(client)
    for _ in range(2):
        import_library(client, folder)
        assert everything(client) == before
    empty(client)


@pytest.mark.slow
@pytest.mark.parametrize("text", [*STRANGE.values(), "5 MB " * 2**20], ids=[*STRANGE, "5 MB"])
def test_every_kind_of_text_survives_a_round_trip(client: Client, tmp_path: Path, text: str) -> None:
    conversation = client.conversations.new_conversation(text)
    client.conversations.put_message(conversation.id, StoredMessage(new_id(), "user", text, stats={"note": "\ud800"}))
    entry = client.journal.new_entry(text)
    before = client.conversations.messages(conversation.id)
    export_library(client, tmp_path / "out")
    empty(client)
    import_library(client, tmp_path / "out")
    assert client.conversations.messages(conversation.id) == [replace(before[0], stats={"note": "\ufffd"})]
    assert client.journal.entry(entry.id) == entry


@pytest.mark.parametrize("at", [-62_135_510_400.0, -62e9, -1.5, -1e9, 0.0, 253_402_200_000.0])
def test_dates_of_all_centuries_are_exported_and_imported(client: Client, tmp_path: Path, at: float) -> None:
    entry = replace(client.journal.new_entry("Long ago."), created=at, updated=at, zone="Europe/Berlin", tags=("war",))
    client.journal.delete_entry(entry.id)
    client.trash.purge([entry.id])
    client.journal.restore_entries([replace(entry, starred=True)])
    export_library(client, tmp_path / "export")
    empty(client)
    assert import_library(client, tmp_path / "export").added == [entry.id]
    assert client.journal.entries() == [replace(entry, starred=True)]


def test_an_export_is_plain_json_and_markdown_and_private(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "export"
    fill(client)
    exported = export_library(client, folder)
    assert (exported.conversations, exported.messages, exported.entries) == (2, 2, 2)
    data = json.loads((folder / "library.json").read_text())
    talks, entries = everything(client)
    assert {each["id"]: each for each in data["entries"]} == {
        id_: json.loads(json.dumps(asdict(entry))) for id_, entry in entries.items()
    }
    assert {each["conversation"]["id"]: len(each["messages"]) for each in data["conversations"]} == {
        id_: len(turns) for id_, (_, turns) in talks.items()
    }
    files = snapshot(folder)
    assert all(re.fullmatch(r"library\.json|(conversations|entries)/[\w-]+\.md", name) for name in files)
    assert len(files) == 5
    assert any(b"A walk." in content for content in files.values())
    assert any(b"## Charlie" in content for name, content in files.items() if name.startswith("conversations"))
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "entries", folder / "conversations")} == {0o700}


def test_an_export_updates_an_earlier_one_and_touches_no_other_file(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    fill(client)
    export_library(client, folder)
    (folder / "entries" / "mine.md").write_text("mine")
    old = client.journal.entries()[0]
    client.journal.write_entry(old.id, "another title")
    client.conversations.delete_conversation(client.conversations.conversations()[0].id)
    export_library(client, folder)
    names = sorted(snapshot(folder))
    assert len(names) == 5  # one conversation, two entries, mine and the JSON
    assert sum("another-title" in name for name in names) == 1
    assert (folder / "entries" / "mine.md").read_text() == "mine"
    data = json.loads((folder / "library.json").read_text())
    assert "another title" in {each["text"] for each in data["entries"]}


def test_a_folder_with_other_files_is_refused(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("notes.txt", "library.json"):
        (folder / name).write_text('{"mine": 1}')
        before = snapshot(folder)
        with pytest.raises(CharlieError, match="is not empty and not an earlier export") as caught:
            export_library(client, folder)
        assert caught.value.hint
        assert snapshot(folder) == before
    with pytest.raises(CharlieError, match="failed: "):
        export_library(client, folder / "notes.txt")


def test_an_interrupted_export_can_be_repeated(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    fill(client)

    class CutOffError(Exception):
        pass

    def cut(done: int, total: int) -> None:
        if done == total - 1:
            raise CutOffError

    with pytest.raises(CutOffError):
        export_library(client, folder, cut)
    assert not (folder / "library.json").exists()
    assert "is not an export" in refused(client, folder)
    export_library(client, folder)
    whole = (folder / "library.json").read_bytes()
    with pytest.raises(CutOffError):
        export_library(client, folder, cut)
    assert (folder / "library.json").read_bytes() == whole


def test_a_full_disk_leaves_the_earlier_export_whole(client: Client, tmp_path: Path) -> None:
    """A limit on the file size stands for the full disk: the kernel refuses the write."""
    folder = tmp_path / "export"
    fill(client)
    export_library(client, folder)
    whole = (folder / "library.json").read_bytes()
    client.journal.new_entry("x" * 500_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CharlieError, match="failed: File too large") as caught:
            export_library(client, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "is still whole" in caught.value.hint
    assert (folder / "library.json").read_bytes() == whole
    assert import_library(client, folder).entries[Restored.SAME] == 2
    export_library(client, folder)
    assert not [name for name in snapshot(folder) if name.endswith(".part")]


def test_a_second_export_into_the_same_folder_at_once_is_refused(client: Client, tmp_path: Path) -> None:
    fill(client)
    refusals: list[str] = []

    def again(done: int, total: int) -> None:
        with pytest.raises(CharlieError) as caught:
            export_library(client, tmp_path / "export")
        refusals.append(caught.value.message)

    export_library(client, tmp_path / "export", again)
    assert len(refusals) == 4
    assert "is under way" in refusals[0]
    assert import_library(client, tmp_path / "export").entries[Restored.SAME] == 2


def test_the_newer_text_stays(client: Client, tmp_path: Path) -> None:
    entry = client.journal.new_entry("one")
    export_library(client, tmp_path / "old")
    later = client.journal.write_entry(entry.id, "two")
    export_library(client, tmp_path / "new")
    assert import_library(client, tmp_path / "old").entries[Restored.KEPT] == 1
    assert client.journal.entry(entry.id) == later
    client.journal.delete_entry(entry.id)
    import_library(client, tmp_path / "old")
    restored = client.journal.entry(entry.id)
    assert restored.revision > later.revision
    client.journal.mark_entries({entry.id: restored.revision}, EntryState.INDEXED)
    done = import_library(client, tmp_path / "new")
    assert (done.renewed, done.added) == ([entry.id], [])
    assert client.journal.entry(entry.id) == replace(later, revision=restored.revision + 1)
    assert import_library(client, tmp_path / "new").entries[Restored.SAME] == 1


def test_an_imported_entry_must_be_indexed_again(client: Client, tmp_path: Path) -> None:
    entry = client.journal.new_entry("one")
    client.journal.mark_entries({entry.id: 1}, EntryState.INDEXED)
    export_library(client, tmp_path / "out")
    client.journal.delete_entry(entry.id)
    assert import_library(client, tmp_path / "out").added == [entry.id]
    assert client.journal.entry(entry.id) == replace(entry, revision=entry.revision + 1)


def test_conversations_that_continued_after_the_export(client: Client, tmp_path: Path) -> None:
    conversation = client.conversations.new_conversation("t")
    first, second = (StoredMessage(f"{n:022x}", "user", str(n), 1e9 + n) for n in range(2))
    client.conversations.put_message(conversation.id, first)
    export_library(client, tmp_path / "short")
    client.conversations.put_message(conversation.id, second)
    export_library(client, tmp_path / "long")
    assert import_library(client, tmp_path / "short").conversations[Restored.KEPT] == 1
    assert client.conversations.messages(conversation.id) == [first, second]
    empty(client)
    import_library(client, tmp_path / "short")
    assert client.conversations.messages(conversation.id) == [first]
    assert import_library(client, tmp_path / "long").conversations[Restored.RENEWED] == 1
    assert client.conversations.messages(conversation.id) == [first, second]
    # A turn that was deleted here stays deleted.
    client.conversations.delete_messages(conversation.id, [second.id])
    import_library(client, tmp_path / "long")
    assert client.conversations.messages(conversation.id) == [first]


def test_any_damage_gives_one_sentence_and_changes_nothing(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    fill(client)
    export_library(client, folder)
    empty(client)
    path = folder / "library.json"
    good = path.read_bytes()
    for cut in range(0, len(good.rstrip()), 97):
        path.write_bytes(good[:cut])
        refused(client, folder)
    for at in (*range(0, len(good), 61), len(good) - 1):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        refused(client, folder)
    path.write_bytes(good)
    import_library(client, folder)
    assert len(client.journal.entries()) == 2


GOOD: dict[str, Any] = asdict(Entry("abc", "text", 1.0, 1.0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "x:messages"}, "impossible"),
        ({"id": "../up"}, "impossible"),
        ({"created": 1e300}, "impossible"),
        ({"updated": float("nan")}, "impossible"),
        ({"text": 7}, "not a record"),
        ({"state": "burnt"}, "not a record"),
        ({"revision": "many"}, "not a record"),
    ],
)
def test_impossible_values_are_refused_even_with_a_valid_checksum(
    client: Client, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    head = '{"charlie_export": 1,\n"exported": 1.0,\n"conversations": [\n],\n"entries": [\n'
    lines = [json.dumps({**GOOD, "id": "other"}), json.dumps({**GOOD, **change})]
    (tmp_path / "library.json").write_bytes(summed(head + ",\n".join(lines) + "\n],\n"))
    assert reason in refused(client, tmp_path)
    assert client.journal.entries() == []


def test_files_of_other_programs_are_refused(client: Client, tmp_path: Path) -> None:
    head = '"exported": 1.0,\n"conversations": [\n],\n"entries": [\n'
    line = json.dumps(GOOD)
    for content, reason in [
        (b"", "not made by Charlie"),
        (b"\x00" * 10_000, "not made by Charlie"),
        (b"{}", "not made by Charlie"),
        (f'{{"charlie_export": 3,\n{head}],\n'.encode(), "later version"),
        (summed(f'{{"charlie_export": 1,\n{head}{line},\n{line}\n],\n'), "twice"),
        (summed(f'{{"charlie_export": 1,\n{head}{"[" * 100_000}\n],\n'), "damaged"),
    ]:
        (tmp_path / "library.json").write_bytes(content)
        assert reason in refused(client, tmp_path)
    assert "is not an export" in refused(client, tmp_path / "nowhere")


def test_an_escaped_lone_surrogate_is_replaced(client: Client, tmp_path: Path) -> None:
    line = json.dumps({**GOOD, "text": "a\ud800b"})
    text = f'{{"charlie_export": 1,\n"exported": 1.0,\n"conversations": [\n],\n"entries": [\n{line}\n],\n'
    (tmp_path / "library.json").write_bytes(summed(text))
    done: Imported = import_library(client, tmp_path)
    assert done.added == ["abc"]
    assert client.journal.entry("abc").text == "a\ufffdb"


def test_an_export_can_be_moved(client: Client, tmp_path: Path) -> None:
    fill(client)
    before = everything(client)
    export_library(client, tmp_path / "one")
    shutil.move(tmp_path / "one", tmp_path / "two")
    empty(client)
    import_library(client, tmp_path / "two")
    assert everything(client) == before
