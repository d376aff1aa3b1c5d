"""Keys that come faster than they are dealt with."""

from __future__ import annotations

import pytest
from textual import events
from textual.app import App, ComposeResult

from app.widgets.prompt import Prompt
from app.widgets.typing_fields import TypingArea, TypingField


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
        for key in ["a", "b", "ctrl+u", "c", "backspace", "d", "left", "e"]:  # all are there before one is dealt with
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        app.post_message(events.Paste("f"))
        await pilot.pause()
        await pilot.pause()
        assert (area.text if isinstance(area, TypingArea) else area.value) == "efd"
