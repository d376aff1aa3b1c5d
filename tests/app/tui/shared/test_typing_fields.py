"""Keys that arrive faster than they are handled."""

from __future__ import annotations

import pytest
from textual import events
from textual.app import App, ComposeResult

from app.tui.chat.prompt import Prompt
from app.tui.shared.typing_fields import TypingArea, TypingField


class Typing(App[None]):
    def compose(self) -> ComposeResult:
        yield TypingArea()
        yield Prompt()
        yield TypingField()


@pytest.mark.parametrize("kind", [TypingArea, Prompt, TypingField])
async def test_keys_take_effect_in_the_order_in_which_they_were_pressed(kind: type[TypingArea | TypingField]) -> None:
    app = Typing()
    async with app.run_test() as pilot:
        area = app.query(kind).first()
        area.focus()
        await pilot.pause()
        for key in ["a", "b", "ctrl+u", "c", "backspace", "d", "left", "e"]:  # all arrive before the first is handled
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        app.post_message(events.Paste("f"))
        await pilot.pause()
        await pilot.pause()
        assert (area.text if isinstance(area, TypingArea) else area.value) == "efd"


async def test_undo_goes_word_by_word_and_redo_has_a_key() -> None:
    app = Typing()
    async with app.run_test() as pilot:
        area = app.query(TypingArea).first()
        area.focus()
        await pilot.pause()
        await pilot.press(*"one two three")
        await pilot.press("ctrl+z")
        assert area.text == "one two "
        await pilot.press("ctrl+z")
        assert area.text == "one "
        await pilot.press("alt+z")
        assert area.text == "one two "
        await pilot.press("ctrl+shift+z")
        assert area.text == "one two three"
