"""Fields in which keys and letters take effect in the order in which they were pressed.

Textual dispatches bound keys through the app, so a letter or a paste right after one arrives first: Ctrl+U would delete
the text that was typed after it. Priority bindings would overtake letters in turn. These fields run their own bindings
and those of the screen at once.
"""

from __future__ import annotations

from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input
from textual.widgets.text_area import Edit, EditResult

from app.tui.textual_fixes import LargeTextArea, unprintable_letter

UNDO_STEPS = 1_000


class TypingArea(LargeTextArea):
    """A text area that takes any paste, and in which undo goes word by word."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+z", "undo", "Undo", show=False, id="typing.undo", tooltip="Undo the last word"),
        Binding("ctrl+shift+z,alt+z", "redo", "Redo", show=False, id="typing.redo", tooltip="Redo what was undone"),
    ]

    def __init__(self, **options: Any) -> None:
        super().__init__(max_checkpoints=UNDO_STEPS, **options)

    def edit(self, edit: Edit) -> EditResult:
        row, column = edit.top
        if edit.text.strip() and self.document.get_line(row)[column - 1 : column].isspace():
            self.history.checkpoint()  # a word begins
        return super().edit(edit)

    def follow(self, text: str) -> None:
        """Replace what differs in the text, so that the cursor stays at its place."""
        old = self.text
        start = _shared(old, text)
        rest = _shared(old[start:][::-1], text[start:][::-1])
        end = len(old) - rest
        self.replace(text[start : len(text) - rest], self.location_of(start), self.location_of(end))

    def on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert(self.shorten(event.text))

    def shorten(self, text: str) -> str:
        """What is shown of a long paste."""
        return text

    def action_far(self, step: int) -> None:
        """To the beginning or the end of the text."""
        self.move_cursor(self.document.start if step < 0 else self.document.end)

    async def on_key(self, event: events.Key) -> None:
        await _run_binding(self, event)


class TypingField(Input):
    async def on_key(self, event: events.Key) -> None:
        await _run_binding(self, event)
        if letter := unprintable_letter(event):
            event.stop()
            event.prevent_default()
            self.replace(letter, *self.selection)


async def _run_binding(field: Widget, event: events.Key) -> None:
    bound = field.screen.active_bindings.get(event.key)
    if bound is not None and bound.node in (field, field.screen) and bound.enabled:
        event.prevent_default()
        event.stop()
        await bound.node.run_action(bound.binding.action)


def _shared(one: str, other: str) -> int:
    """The length of what both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
