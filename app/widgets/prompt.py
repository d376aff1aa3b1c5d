"""Where a message is written: grows with its text, keeps a history, and takes a paste of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from app.widgets.typing_fields import TypingArea
from core.text import printable

LONGEST_SHOWN = 4_000
"""Characters of one paste that are shown as they are; wrapping a longer one at every key would freeze the typing."""
KEPT = 200
"""How many sent prompts are kept."""


class Prompt(TypingArea):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", show=False, id="prompt.send", tooltip="Send the message"),
        Binding(
            "ctrl+j,shift+enter",
            "newline",
            "New line",
            show=False,
            id="prompt.newline",
            tooltip="Begin a new line",
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
        """The person wants `text` sent; the prompt is empty already."""

        text: str

    @dataclass
    class Scrolled(Message):
        """The turns are to be scrolled `pages` pages down, or up when it is negative; `far`: all the way."""

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
    def whole_text(self) -> str:
        """The text with long pastes in full."""
        text = self.text
        for stand_in, paste in self._pastes.items():
            text = text.replace(stand_in, paste)
        return text

    def remember(self, sent: Sequence[str]) -> None:
        """Begin the history anew with what was sent, oldest first."""
        self._history = list(sent[-KEPT:])
        self._place = len(self._history)

    def give_back(self, text: str) -> None:
        """Put text that was not taken before what has been typed since."""
        shown = self._shorten(printable(text))
        self._fill(f"{shown}\n{self.text}" if self.text.strip() else shown)

    def put(self, draft: str) -> None:
        """Replace the text by what `text` was earlier."""
        self._fill(draft)

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert(self._shorten(printable(event.text)))

    def action_newline(self) -> None:
        self.insert("\n")

    def action_page(self, step: int) -> None:
        """Through the prompt while it has more lines than it shows, else through the turns."""
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
            self.move_cursor(self.document.start if step < 0 else self.document.end)

    def action_send(self) -> None:
        text = self.whole_text
        if not text.strip():
            return
        self._history = [*self._history, text][-KEPT:]
        self._place = len(self._history)
        self._fill("")
        self.post_message(self.Submitted(text))

    def action_cursor_up(self, select: bool = False) -> None:
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location) or not self._place:
            super().action_cursor_up(select)
            return
        if self._place == len(self._history):
            self._unsent = self.text
        self._place -= 1
        self._fill(self._shorten(printable(self._history[self._place])))

    def action_cursor_down(self, select: bool = False) -> None:
        at_end = self.navigator.is_last_wrapped_line(self.cursor_location)
        if select or not at_end or self._place == len(self._history):
            super().action_cursor_down(select)
            return
        self._place += 1
        last = self._place == len(self._history)
        self._fill(self._unsent if last else self._shorten(printable(self._history[self._place])))

    def _fill(self, text: str) -> None:
        self.load_text(text)
        self.move_cursor(self.document.end)

    def _shorten(self, text: str) -> str:
        """The text, or a stand-in for it when it is long."""
        if len(text) <= LONGEST_SHOWN:
            return text
        stand_in = f"[pasted text {len(self._pastes) + 1}: {len(text):,} characters]"
        self._pastes[stand_in] = text
        return stand_in
