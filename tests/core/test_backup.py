"""The library as a folder and back: any text, any damage, twice, and beside what was written since."""

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
from core.backup import Imported, export_library, import_library
from core.errors import CharlieError
from core.library import Conversation, Entry, EntryState, Library, MessageState, Restored, StoredMessage
from core.text import new_id
from tests.core.test_library import STRANGE

Everything = tuple[dict[str, tuple[Conversation, list[StoredMessage]]], dict[str, Entry]]

texts = st.text(st.characters(), max_size=200)
times = st.floats(0, 4e9, allow_nan=False)
numbers = st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False))
messages = st.builds(
    StoredMessage,
    id=st.uuids().map(lambda id_: id_.hex[:22]),
    role=st.sampled_from(("user", "assistant")),
    text=texts,
    at=times,
    state=st.sampled_from(MessageState),
    stats=st.none() | st.dictionaries(st.sampled_from("abc"), numbers | st.none() | st.booleans()),
)


def everything(library: Library) -> Everything:
    talks = {each.id: (each, library.messages(each.id)) for each in library.conversations()}
    return talks, {each.id: each for each in library.entries()}


def empty(library: Library) -> None:
    for conversation in library.conversations():
        library.delete_conversation(conversation.id)
    for entry in library.entries():
        library.delete_entry(entry.id)


def fill(library: Library) -> None:
    conversation = library.new_conversation("../../etc/passwd / and more")
    library.put_message(conversation.id, StoredMessage(new_id(), "user", "Hello"))
    library.put_message(
        conversation.id, StoredMessage(new_id(), "assistant", "Hi", 5.25, MessageState.CANCELLED, {"ttft_ms": 1.5})
    )
    library.new_conversation()
    library.new_entry("# One\n\nA walk.")
    library.write_entry(library.new_entry("two").id, "two, again")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def summed(text: str) -> bytes:
    """An export's text with the checksum that fits it."""
    return f'{text}"sha256": "{hashlib.sha256(text.encode()).hexdigest()}"}}\n'.encode()


def refused(library: Library, folder: Path) -> str:
    """The sentence with which a folder is not read in; the library stays as it is."""
    before = everything(library)
    with pytest.raises(CharlieError) as caught:
        import_library(library, folder)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert everything(library) == before
    return caught.value.message


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    talks=st.lists(st.tuples(texts, st.lists(messages, max_size=4)), max_size=3),
    entries=st.lists(st.tuples(texts, texts), max_size=4),
)
def test_a_round_trip_gives_the_same_library(
    client: Client, tmp_path: Path, talks: list[tuple[str, list[StoredMessage]]], entries: list[tuple[str, str]]
) -> None:
    library, folder = client.library, tmp_path / "export"
    for title, turns in talks:
        conversation = library.new_conversation(title)
        for turn in turns:
            library.put_message(conversation.id, turn)
    for first, second in entries:
        library.write_entry(library.new_entry(first).id, second)
    before = everything(library)
    export_library(library, folder)
    assert not any(import_library(library, folder).entries[each] for each in (Restored.ADDED, Restored.RENEWED))
    assert everything(library) == before
    empty(library)
    for _ in range(2):
        import_library(library, folder)
        assert everything(library) == before
    empty(library)


@pytest.mark.parametrize("text", [*STRANGE.values(), "5 MB " * 2**20], ids=[*STRANGE, "5 MB"])
def test_text_of_every_kind_comes_back(client: Client, tmp_path: Path, text: str) -> None:
    library = client.library
    conversation = library.new_conversation(text)
    library.put_message(conversation.id, StoredMessage(new_id(), "user", text, stats={"note": "\ud800"}))
    entry = library.new_entry(text)
    before = library.messages(conversation.id)
    export_library(library, tmp_path / "out")
    empty(library)
    import_library(library, tmp_path / "out")
    assert library.messages(conversation.id) == [replace(before[0], stats={"note": "\ufffd"})]
    assert library.entry(entry.id) == entry


def test_it_is_readable_without_charlie_and_private(client: Client, tmp_path: Path) -> None:
    library, folder = client.library, tmp_path / "deep" / "export"
    fill(library)
    exported = export_library(library, folder)
    assert (exported.conversations, exported.messages, exported.entries) == (2, 2, 2)
    data = json.loads((folder / "library.json").read_text())
    talks, entries = everything(library)
    assert {each["id"]: each for each in data["entries"]} == {id_: asdict(entry) for id_, entry in entries.items()}
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


def test_an_export_is_renewed_and_nothing_else_is_touched(client: Client, tmp_path: Path) -> None:
    library, folder = client.library, tmp_path / "export"
    fill(library)
    export_library(library, folder)
    (folder / "entries" / "mine.md").write_text("mine")
    old = library.entries()[0]
    library.write_entry(old.id, "another title")
    library.delete_conversation(library.conversations()[0].id)
    export_library(library, folder)
    names = sorted(snapshot(folder))
    assert len(names) == 5  # one conversation, two entries, mine and the JSON
    assert sum("another-title" in name for name in names) == 1
    assert (folder / "entries" / "mine.md").read_text() == "mine"
    data = json.loads((folder / "library.json").read_text())
    assert "another title" in {each["text"] for each in data["entries"]}


def test_a_folder_that_holds_other_things_is_refused(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("notes.txt", "library.json"):
        (folder / name).write_text('{"mine": 1}')
        before = snapshot(folder)
        with pytest.raises(CharlieError, match="is not empty and not an earlier export") as caught:
            export_library(client.library, folder)
        assert caught.value.hint
        assert snapshot(folder) == before
    with pytest.raises(CharlieError, match="failed: "):
        export_library(client.library, folder / "notes.txt")


def test_an_export_that_was_cut_off_is_begun_anew(client: Client, tmp_path: Path) -> None:
    library, folder = client.library, tmp_path / "export"
    fill(library)

    class CutOffError(Exception):
        pass

    def cut(done: int, total: int) -> None:
        if done == total - 1:
            raise CutOffError

    with pytest.raises(CutOffError):
        export_library(library, folder, cut)
    assert not (folder / "library.json").exists()
    assert "is not an export" in refused(library, folder)
    export_library(library, folder)
    whole = (folder / "library.json").read_bytes()
    with pytest.raises(CutOffError):
        export_library(library, folder, cut)
    assert (folder / "library.json").read_bytes() == whole


def test_a_disk_without_room_leaves_the_earlier_export_whole(client: Client, tmp_path: Path) -> None:
    """The limit on a file's size stands for it: the kernel refuses the write."""
    library, folder = client.library, tmp_path / "export"
    fill(library)
    export_library(library, folder)
    whole = (folder / "library.json").read_bytes()
    library.new_entry("x" * 500_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CharlieError, match="failed: File too large") as caught:
            export_library(library, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "is still whole" in caught.value.hint
    assert (folder / "library.json").read_bytes() == whole
    assert import_library(library, folder).entries[Restored.SAME] == 2
    export_library(library, folder)
    assert not [name for name in snapshot(folder) if name.endswith(".part")]


def test_two_exports_into_one_folder_at_once(client: Client, tmp_path: Path) -> None:
    fill(client.library)
    refusals: list[str] = []

    def again(done: int, total: int) -> None:
        with pytest.raises(CharlieError) as caught:
            export_library(client.library, tmp_path / "export")
        refusals.append(caught.value.message)

    export_library(client.library, tmp_path / "export", again)
    assert len(refusals) == 4
    assert "is under way" in refusals[0]
    assert import_library(client.library, tmp_path / "export").entries[Restored.SAME] == 2


def test_the_later_text_stays(client: Client, tmp_path: Path) -> None:
    library = client.library
    entry = library.new_entry("one")
    export_library(library, tmp_path / "old")
    later = library.write_entry(entry.id, "two")
    export_library(library, tmp_path / "new")
    assert import_library(library, tmp_path / "old").entries[Restored.KEPT] == 1
    assert library.entry(entry.id) == later
    library.delete_entry(entry.id)
    import_library(library, tmp_path / "old")
    library.mark_entry(entry.id, 1, EntryState.FINDABLE)
    done = import_library(library, tmp_path / "new")
    assert (done.renewed, done.added) == ([entry.id], [])
    assert library.entry(entry.id) == later
    assert import_library(library, tmp_path / "new").entries[Restored.SAME] == 1


def test_what_was_findable_waits_to_be_read_in(client: Client, tmp_path: Path) -> None:
    library = client.library
    entry = library.new_entry("one")
    library.mark_entry(entry.id, 1, EntryState.FINDABLE)
    export_library(library, tmp_path / "out")
    library.delete_entry(entry.id)
    assert import_library(library, tmp_path / "out").added == [entry.id]
    assert library.entry(entry.id) == entry


def test_conversations_that_went_on(client: Client, tmp_path: Path) -> None:
    library = client.library
    conversation = library.new_conversation("t")
    first, second = (StoredMessage(f"{n:022x}", "user", str(n), 1e9 + n) for n in range(2))
    library.put_message(conversation.id, first)
    export_library(library, tmp_path / "short")
    library.put_message(conversation.id, second)
    export_library(library, tmp_path / "long")
    assert import_library(library, tmp_path / "short").conversations[Restored.KEPT] == 1
    assert library.messages(conversation.id) == [first, second]
    empty(library)
    import_library(library, tmp_path / "short")
    assert library.messages(conversation.id) == [first]
    assert import_library(library, tmp_path / "long").conversations[Restored.RENEWED] == 1
    assert library.messages(conversation.id) == [first, second]
    # What was taken back here does not come again.
    library.delete_messages(conversation.id, [second.id])
    import_library(library, tmp_path / "long")
    assert library.messages(conversation.id) == [first]


def test_any_damage_is_one_sentence_and_changes_nothing(client: Client, tmp_path: Path) -> None:
    library, folder = client.library, tmp_path / "export"
    fill(library)
    export_library(library, folder)
    empty(library)
    path = folder / "library.json"
    good = path.read_bytes()
    for cut in range(0, len(good.rstrip()), 97):
        path.write_bytes(good[:cut])
        refused(library, folder)
    for at in (*range(0, len(good), 61), len(good) - 1):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        refused(library, folder)
    path.write_bytes(good)
    import_library(library, folder)
    assert len(library.entries()) == 2


GOOD: dict[str, Any] = asdict(Entry("abc", "text", 1.0, 1.0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "x:messages"}, "cannot be"),
        ({"id": "../up"}, "cannot be"),
        ({"created": 1e300}, "cannot be"),
        ({"updated": float("nan")}, "cannot be"),
        ({"text": 7}, "not what"),
        ({"state": "burnt"}, "not what"),
        ({"revision": "many"}, "not what"),
    ],
)
def test_what_cannot_be_is_refused_whoever_wrote_it(
    client: Client, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    head = '{"charlie_export": 1,\n"exported": 1.0,\n"conversations": [\n],\n"entries": [\n'
    lines = [json.dumps({**GOOD, "id": "other"}), json.dumps({**GOOD, **change})]
    (tmp_path / "library.json").write_bytes(summed(head + ",\n".join(lines) + "\n],\n"))
    assert reason in refused(client.library, tmp_path)
    assert client.library.entries() == []


def test_foreign_files(client: Client, tmp_path: Path) -> None:
    head = '"exported": 1.0,\n"conversations": [\n],\n"entries": [\n'
    line = json.dumps(GOOD)
    for content, reason in [
        (b"", "not made by Charlie"),
        (b"\x00" * 10_000, "not made by Charlie"),
        (b"{}", "not made by Charlie"),
        (f'{{"charlie_export": 2,\n{head}],\n'.encode(), "later version"),
        (summed(f'{{"charlie_export": 1,\n{head}{line},\n{line}\n],\n'), "twice"),
        (summed(f'{{"charlie_export": 1,\n{head}{"[" * 100_000}\n],\n'), "damaged"),
    ]:
        (tmp_path / "library.json").write_bytes(content)
        assert reason in refused(client.library, tmp_path)
    assert "is not an export" in refused(client.library, tmp_path / "nowhere")


def test_an_escaped_half_of_a_pair_is_stored_safely(client: Client, tmp_path: Path) -> None:
    line = json.dumps({**GOOD, "text": "a\ud800b"})
    text = f'{{"charlie_export": 1,\n"exported": 1.0,\n"conversations": [\n],\n"entries": [\n{line}\n],\n'
    (tmp_path / "library.json").write_bytes(summed(text))
    done: Imported = import_library(client.library, tmp_path)
    assert done.added == ["abc"]
    assert client.library.entry("abc").text == "a\ufffdb"


def test_an_export_may_be_moved(client: Client, tmp_path: Path) -> None:
    library = client.library
    fill(library)
    before = everything(library)
    export_library(library, tmp_path / "one")
    shutil.move(tmp_path / "one", tmp_path / "two")
    empty(library)
    import_library(library, tmp_path / "two")
    assert everything(library) == before
