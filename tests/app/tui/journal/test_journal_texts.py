"""No text of the journal is lost: revisions, drafts and the trash, over a real database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Label

from app.client import Client
from app.library_changes import delete_entry, write_entry
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from app.tui.journal import entry_editor
from app.tui.journal.entry_draft import PLACE
from app.tui.journal.screen import JournalScreen
from app.tui.library.history import HistoryScreen, difference
from app.tui.library.trash import TrashScreen
from app.tui.shared.dialogs import ConfirmDialog
from core.events.types import JobKind, LibraryChanged
from core.library.drafts import Draft
from core.library.records import Entry
from core.paths import find_paths
from core.settings_file import load_settings
from tests.app.conftest import Until
from tests.app.tui.journal.test_journal import jobs, journal, keep, titles


@pytest.fixture
def other(client: Client) -> Iterator[Client]:
    """A second interface's client of the same database."""
    made = Client(load_settings(), find_paths())
    yield made
    made.close()


async def opened(pilot: Pilot[None], until: Until, entry: Entry) -> JournalScreen:
    screen = await journal(pilot, until)
    screen.open_entry(entry.id)
    await until(pilot, lambda: screen.editor.entry_id == entry.id and not screen.actions.changing.locked())
    return screen


def kept(client: Client, entry: Entry) -> list[str]:
    return [revision.text for revision in client.history.revisions(entry.id)]


def leave_draft(client: Client, place: str, text: str, base: int = 0) -> Path:
    """A draft of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own = client.drafts.file(place)
    file = own.with_name(own.name.replace(f"-{os.getpid()}", f"-{ended.pid}"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(Draft(place, text, base))), "utf-8")
    return file


@pytest.mark.slow
async def test_two_interfaces_on_one_entry_keep_both_texts(
    app: CharlieApp, client: Client, other: Client, until: Until
) -> None:
    entry = keep(client, "River")
    async with app.run_test() as pilot, CharlieApp(other).run_test() as second:
        one, two = await opened(pilot, until, entry), await opened(second, until, entry)
        await pilot.press(*" bank")
        await until(second, lambda: two.editor.area.text == "River bank")
        assert "^G shows the text before" in str(two.editor.notice.content)
        await second.press(*" dry")
        await until(pilot, lambda: one.editor.area.text == "River bank dry")
        assert client.journal.entry(entry.id).text == "River bank dry"
        assert kept(client, entry) == ["River bank", "River"]


@pytest.mark.slow
async def test_texts_typed_at_once_are_both_kept_and_the_person_is_told(
    app: CharlieApp, client: Client, other: Client, until: Until
) -> None:
    entry = keep(client, "River")
    async with app.run_test() as pilot, CharlieApp(other).run_test() as second:
        one, two = await opened(pilot, until, entry), await opened(second, until, entry)
        await pilot.press(*" one")
        await second.press(*" two")
        editors = (one.editor, two.editor)
        await until(pilot, lambda: any("was changed elsewhere too" in str(e.notice.content) for e in editors))
        await until(pilot, lambda: one.editor.area.text == two.editor.area.text)
        assert {client.journal.entry(entry.id).text, *kept(client, entry)} >= {"River one", "River two"}


async def test_the_editor_follows_and_keeps_its_cursor(app: CharlieApp, client: Client, until: Until) -> None:
    entry = keep(client, "One\nTwo\nThree")
    async with app.run_test() as pilot:
        screen = await opened(pilot, until, entry)
        screen.editor.area.move_cursor((1, 2))
        write_entry(client, entry.id, "Zero\nOne\nTwo\nThree")
        await until(pilot, lambda: screen.editor.area.text == "Zero\nOne\nTwo\nThree")
        assert screen.editor.area.cursor_location == (2, 2)
        write_entry(client, entry.id, "Zero\nOne\nTwo\nFive")
        await until(pilot, lambda: screen.editor.area.text == "Zero\nOne\nTwo\nFive")
        assert screen.editor.area.cursor_location == (2, 2)
        assert titles(screen) == ["· Zero"]


async def test_the_list_follows_what_others_add_and_delete(
    app: CharlieApp, client: Client, other: Client, until: Until
) -> None:
    river = keep(client, "River")
    async with app.run_test() as pilot:
        screen = await opened(pilot, until, river)
        bread = keep(other, "Bread")
        other.bus.publish(LibraryChanged())
        await until(pilot, lambda: "● Bread" in titles(screen))
        delete_entry(other, bread.id)
        await until(pilot, lambda: titles(screen) == ["● River"])
        delete_entry(other, river.id)
        await until(pilot, lambda: screen.editor.entry_id is None and screen.editor.area.text == "")
        assert "deleted elsewhere" in str(screen.editor.notice.content)
        assert titles(screen) == []


async def test_unsaved_text_of_an_entry_deleted_elsewhere_is_kept_as_a_new_one(
    app: CharlieApp, client: Client, other: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_editor, "SAVE_SECONDS", 60)  # else a busy machine saves the text before the deletion
    entry = keep(client, "River")
    async with app.run_test() as pilot:
        screen = await opened(pilot, until, entry)
        await pilot.press(*"side")
        delete_entry(other, entry.id)
        await until(pilot, lambda: [each.text for each in client.journal.entries()] == ["Riverside"])
        await until(pilot, lambda: "Your text is kept as a new entry" in str(screen.editor.notice.content))
        assert [item.id for item in client.trash.items()] == [entry.id]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["list", "editor"])
async def test_the_history_brings_an_earlier_text_back(app: CharlieApp, client: Client, until: Until, way: str) -> None:
    entry = keep(client, "River\nhigh")
    write_entry(client, entry.id, "Bread")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, until, entry)
        if way == "list":
            screen.set_focus(screen.entry_list.options)
        await pilot.press("h" if way == "list" else "ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen) and app.screen.is_mounted)
        history = app.screen
        assert isinstance(history, HistoryScreen)
        await until(pilot, lambda: str(history.difference.content) == "- River\n- high\n+ Bread")
        await pilot.press("enter")
        await until(pilot, lambda: screen.editor.area.text == "River\nhigh")
        assert kept(client, entry) == ["Bread", "River\nhigh"]


async def test_a_text_brought_back_from_the_list_is_indexed(app: CharlieApp, client: Client, until: Until) -> None:
    entry = keep(client, "River")
    write_entry(client, entry.id, "Bread")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await journal(pilot, until)
        screen.set_focus(screen.entry_list.options)
        await pilot.press("end", "h")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen) and app.screen.is_mounted)
        await pilot.press("enter")
        await until(pilot, lambda: titles(screen) == ["· River"] and len(jobs(client, JobKind.INGEST)) == 1)
        assert "Brought back" in str(screen.notice.content)
        assert screen.editor.area.text == ""


def test_a_difference_marks_lines_and_words() -> None:
    shown = difference("Snow\n\n\n\nRain fell\n[b]x\x1b[0m", "Snow\n\n\n\nRain stopped\n[b]x\x1b[0m\nSun")
    assert shown.plain == "  Snow\n  …\n  \n- Rain fell\n+ Rain stopped\n  [b]x␛[0m\n+ Sun"
    bold = [shown.plain[span.start : span.end].strip() for span in shown.spans if "bold" in str(span.style)]
    assert bold == ["fell", "stopped"]


async def test_the_trash_removes_for_good_after_a_question(app: CharlieApp, client: Client, until: Until) -> None:
    entry = keep(client, "River")
    delete_entry(client, entry.id)
    async with app.run_test(size=(80, 24)) as pilot:
        app.action_trash()
        await until(pilot, lambda: isinstance(app.screen, TrashScreen) and bool(app.screen.options.options))
        trash = app.screen
        assert isinstance(trash, TrashScreen)
        assert "entry · deleted" in str(trash.options.options[0].prompt)
        assert "30 days left" in str(trash.options.options[0].prompt)
        for answer, left in (("n", 1), ("y", 0)):
            await pilot.press("x")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog) and app.screen.is_mounted)
            await pilot.press(answer)
            await until(pilot, lambda: app.screen is trash and len(client.trash.items()) == left)  # noqa: B023
        await until(pilot, lambda: str(trash.notice.content) == "“River” is removed.")


@pytest.mark.slow
async def test_a_deleted_entry_is_undone_and_found_in_the_trash(app: CharlieApp, client: Client, until: Until) -> None:
    entry = keep(client, "River")
    async with app.run_test() as pilot:
        screen = await opened(pilot, until, entry)
        await pilot.press(*"side")
        screen.set_focus(screen.entry_list.options)
        for brings_back in ("u", "t"):
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await pilot.press("y")
            await until(pilot, lambda: "u brings it back" in str(screen.notice.content))
            assert client.journal.entries() == []
            assert titles(screen) == []
            await pilot.press(brings_back)
            if brings_back == "t":
                await until(pilot, lambda: isinstance(app.screen, TrashScreen) and bool(app.screen.options.options))
                await pilot.press("enter")
                await until(pilot, lambda: client.trash.items() == [])
                await pilot.press("escape")
            await until(pilot, lambda: titles(screen) == ["· Riverside"])
        assert len(jobs(client, JobKind.INGEST)) >= 1


@pytest.mark.parametrize(
    ("keys", "deleted"),
    [
        (["y"], True), (["n"], False), (["escape"], False), (["enter"], False), (["right", "enter"], True),
        (["tab", "enter"], True), (["right", "left", "enter"], False),
    ],
)  # fmt: skip
async def test_the_dialog_takes_the_keys_that_it_names(
    app: CharlieApp, until: Until, keys: list[str], deleted: bool
) -> None:
    answers: list[bool | None] = []
    async with app.run_test() as pilot:
        app.push_screen(ConfirmDialog("Delete?", "Delete"), answers.append)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog) and app.screen.is_mounted)
        assert "y: Delete · n, Esc: Keep" in str(app.screen.query_one(".keys", Label).content)
        await pilot.press(*keys)
        await until(pilot, lambda: answers == [deleted])


async def test_a_typed_text_is_in_a_file_before_it_is_saved(
    app: CharlieApp, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_editor, "SAVE_SECONDS", 60)
    entry = keep(client, "River")
    async with app.run_test() as pilot:
        screen = await opened(pilot, until, entry)
        await pilot.press(*"side")
        file = client.drafts.file(PLACE + entry.id)
        await until(pilot, lambda: file.exists() and json.loads(file.read_text("utf-8"))["text"] == "Riverside")
        assert json.loads(file.read_text("utf-8"))["base"] == 1
        assert client.journal.entry(entry.id).text == "River"
        await screen.editor.save()
        await until(pilot, lambda: not file.exists())


async def test_drafts_of_an_ended_process_are_restored(app: CharlieApp, client: Client, until: Until) -> None:
    river = keep(client, "River")
    write_entry(client, river.id, "River, changed later")
    files = [leave_draft(client, f"{PLACE}gone", "New"), leave_draft(client, PLACE + river.id, "Riverside", 1)]
    async with app.run_test() as pilot:
        await pilot.press("f3")
        await until(pilot, lambda: {each.text for each in client.journal.entries()} == {"New", "Riverside"})
        screen = app.screen
        assert isinstance(screen, JournalScreen)
        await until(pilot, lambda: screen.editor.area.text in ("New", "Riverside"))
        await until(pilot, lambda: not any(client.paths.drafts.iterdir()))
        assert kept(client, river) == ["River, changed later", "River"]
        assert not any(file.exists() for file in files)


async def test_a_draft_is_restored_with_its_entry(app: CharlieApp, client: Client, until: Until) -> None:
    """As when another interface was killed while this one runs."""
    river = keep(client, "River")
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        leave_draft(client, PLACE + river.id, "Riverside", 1)
        screen.open_entry(river.id)
        await until(pilot, lambda: screen.editor.area.text == "Riverside")
        assert "Restored" in str(screen.editor.notice.content)
        await until(pilot, lambda: client.journal.entry(river.id).text == "Riverside")
        assert "Restored" in str(screen.editor.notice.content)


@pytest.mark.slow
async def test_text_that_cannot_be_saved_at_the_end_stays_in_a_named_file(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await journal(pilot, until)
            assert runtime._server is not None
            runtime._server.process.kill()
            await pilot.press(*"Precious")
    (sentence,) = app.last_words
    (draft,) = [each for each in client.paths.drafts.iterdir() if str(each) in sentence]
    assert json.loads(draft.read_text("utf-8"))["text"] == "Precious"


@pytest.mark.slow
async def test_text_that_no_file_takes_is_said_at_the_end(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await journal(pilot, until)
            assert runtime._server is not None
            runtime._server.process.kill()
            client.paths.drafts.rmdir() if client.paths.drafts.exists() else None
            client.paths.drafts.touch()  # no folder any more, as when nothing can be written
            await pilot.press(*"Precious")
    (sentence,) = app.last_words
    assert sentence.endswith("Its text:\nPrecious")


async def test_an_opened_entry_has_its_cursor_at_the_end_and_keys_for_both_ends(
    app: CharlieApp, client: Client, until: Until
) -> None:
    entry = keep(client, "One\nTwo")
    async with app.run_test() as pilot:
        area = (await opened(pilot, until, entry)).editor.area
        assert area.cursor_location == (1, 3)
        await pilot.press("ctrl+home")
        assert area.cursor_location == (0, 0)
        await pilot.press("ctrl+end")
        assert area.cursor_location == (1, 3)
