"""The input for a message: grows with its text, keeps a history, and takes a paste of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from app.tui.shared.typing_fields import TypingArea

LONGEST_SHOWN = 4_000
"""A longer paste is shown as a placeholder: wrapping it again at every key would freeze the typing."""
KEPT = 200
"""Sent messages in the history."""


class Prompt(TypingArea):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", show=False, id="prompt.send", tooltip="Send the message"),
        Binding(
            "ctrl+j,shift+enter",
            "newline",
            "New line",
            show=False,
            id="prompt.newline",
            tooltip="Start a new line",
        ),
        Binding("pageup", "page(-1)", "Page up", show=False, id="prompt.page-up", tooltip="Scroll the turns up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="prompt.page-down", tooltip="Scroll the turns down"),
        Binding("ctrl+home", "far(-1)", "Beginning", show=False, id="prompt.first", tooltip="Go to the first turns"),
        Binding("ctrl+end", "far(1)", "End", show=False, id="prompt.last", tooltip="Go to the last turn"),
        Binding(
            "ctrl+y",
            "screen.copy_reply",
            "Copy reply",
            show=False,
            id="prompt.copy",
            tooltip="Copy the last reply",
        ),
    ]

    @dataclass
    class Submitted(Message):
        """The user sends `text`; it has left the prompt already."""

        text: str

    @dataclass
    class Scrolled(Message):
        """The user scrolls the turns by `pages` (negative: up), or with `far` to the end."""

        pages: int
        far: bool

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id, compact=True, highlight_cursor_line=False, placeholder="Write a message…")
        self._history: list[str] = []
        self._place = 0
        self._unsent = ""
        self._pastes: dict[str, str] = {}

    def on_mount(self) -> None:
        self.border_subtitle = "Enter send · Ctrl+J new line"

    @property
    def draft(self) -> str:
        """What was written and not sent, with placeholders. Of a message from the history, only an edited one."""
        if self._place == len(self._history):
            return self.text
        edited = self.text if self.whole(self.text) != self._history[self._place] else ""
        return "\n".join(part for part in (self._unsent, edited) if part)

    def whole(self, text: str) -> str:
        """A text with long pastes in full."""
        for placeholder, paste in self._pastes.items():
            text = text.replace(placeholder, paste)
        return text

    def set_history(self, sent: Sequence[str]) -> None:
        """Replace the history by these messages, oldest first."""
        if self._place < len(self._history):
            self._fill(self.draft)
        self._history = list(sent[-KEPT:])
        self._place = len(self._history)

    def prepend(self, text: str) -> None:
        """Put a message that was not sent before the text typed since."""
        self.replace_text(self.joined(text, self.draft))

    def joined(self, text: str, draft: str) -> str:
        """A message that was not sent, shortened, and a draft after it."""
        shown = self.shorten(text)
        return f"{shown}\n{draft}" if draft.strip() else shown

    def replace_text(self, draft: str) -> None:
        """Replace the text by an earlier `draft`, placeholders included."""
        self._place = len(self._history)
        self._fill(draft)

    def action_newline(self) -> None:
        self.insert("\n")

    def action_page(self, step: int) -> None:
        """Scroll the prompt if it has more lines than it shows, else the turns."""
        if self.max_scroll_y == 0:
            self.post_message(self.Scrolled(step, far=False))
        elif step < 0:
            self.action_cursor_page_up()
        else:
            self.action_cursor_page_down()

    def action_far(self, step: int) -> None:
        if self.max_scroll_y == 0:
            self.post_message(self.Scrolled(step, far=True))
        else:
            super().action_far(step)

    def action_send(self) -> None:
        text = self.whole(self.text)
        if not text.strip():
            return
        unsent = self._unsent if self._place < len(self._history) else ""
        self._history = [*self._history, text][-KEPT:]
        self.replace_text(unsent)
        self.post_message(self.Submitted(text))

    def action_cursor_up(self, select: bool = False) -> None:
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location) or not self._place:
            super().action_cursor_up(select)
            return
        if self._place == len(self._history):
            self._unsent = self.text
        self._place -= 1
        self._fill(self.shorten(self._history[self._place]))

    def action_cursor_down(self, select: bool = False) -> None:
        at_end = self.navigator.is_last_wrapped_line(self.cursor_location)
        if select or not at_end or self._place == len(self._history):
            super().action_cursor_down(select)
            return
        self._place += 1
        last = self._place == len(self._history)
        self._fill(self._unsent if last else self.shorten(self._history[self._place]))

    def _fill(self, text: str) -> None:
        self.load_text(text)
        self.move_cursor(self.document.end)

    def shorten(self, text: str) -> str:
        """The text, or a placeholder for a long one."""
        if len(text) <= LONGEST_SHOWN:
            return text
        placeholder = f"[pasted text {len(self._pastes) + 1}: {len(text):,} characters]"
        self._pastes[placeholder] = text
        return placeholder
