"""The mood of an entry, which a person can set, and the line for somebody in distress."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from app.client import Client
from app.tui.app import CharlieApp
from app.tui.shared.dialogs import ChoiceDialog
from core.library.records import EntryState
from tests.app.commands.charlie import charlie, refused
from tests.app.conftest import Until
from tests.app.tui.journal.test_journal import SIZES, SnapCompare, journal, keep
from tests.app.tui.stillness import still


def felt(client: Client, text: str, mood: str, *, distress: bool) -> str:
    entry = keep(client, text)
    client.journal.mark_entries({entry.id: 1}, EntryState.INDEXED, felt={entry.id: (mood, distress)})
    return entry.id


async def test_m_sets_the_mood(app: CharlieApp, client: Client, until: Until) -> None:
    id_ = felt(client, "A walk by the river", "sad", distress=False)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await journal(pilot, until)
        screen.entry_list.highlight(id_)
        screen.entry_list.options.focus()
        await until(pilot, lambda: screen.entry_list.options.has_focus and screen.entry_list.highlighted is not None)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        app.screen.query_one(OptionList).focus()
        await pilot.press("up", "enter")
        await until(pilot, lambda: client.journal.entry(id_).mood_by == "person")
        assert client.journal.entry(id_).mood == "calm"
        await until(pilot, lambda: screen.entry_list.entries[0].mood == "calm")


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_the_line(
    app: CharlieApp, client: Client, until: Until, snap_compare: SnapCompare, size: tuple[int, int]
) -> None:
    id_ = felt(client, "I took the rope out of the shed.", "sad", distress=True)

    async def before(pilot: Pilot[None]) -> None:
        screen = await journal(pilot, until)
        screen.open_entry(id_)
        await until(pilot, lambda: screen.editor.support.display)
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)


def test_a_mood_from_the_shell(home: Path, client: Client) -> None:
    entry = client.journal.new_entry("A walk")
    assert charlie(home, "journal", "mood", entry.id, "tired").err == "“A walk” is tired.\n"
    assert client.journal.entry(entry.id).mood == "tired"
    assert "is no mood." in refused(charlie(home, "journal", "mood", entry.id, "green"))
