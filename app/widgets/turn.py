"""One turn of a conversation: who, when, and what. Turns can be walked through, copied and gone back to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from core.library import StoredMessage
from core.text import printable

LONGEST_SHOWN = 8_000
"""Characters of one message of the person's that are drawn; all of it is sent, copied and exported."""


def moment(at: float) -> str:
    """The time of day, with the date before it when it was not today; local time."""
    then = time.localtime(at)
    today = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", then)


class TurnHeader(Widget):
    """The author on the left, a remark on the right."""

    DEFAULT_CSS = "TurnHeader { height: 1; }"

    def __init__(self, author: str, remark: str) -> None:
        super().__init__()
        self.author = author
        self.remark = remark

    def render(self) -> RenderResult:
        gap = " " * max(2, self.size.width - len(self.author) - len(self.remark))
        return Content.assemble((self.author, "bold"), gap, (self.remark, "dim"))


class Turn(Vertical, can_focus=True):
    """What is common to both sides of a conversation. `text` is as stored."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "walk(-1)", "Earlier turn", show=False, id="turn.earlier", tooltip="Go to the turn before"),
        Binding("down,j", "walk(1)", "Later turn", show=False, id="turn.later", tooltip="Go to the turn after"),
        Binding("y,c", "copy", "Copy", id="turn.copy", tooltip="Copy this turn"),
    ]

    @dataclass
    class Copied(Message):
        characters: int

    def __init__(self, id_: str, author: str, remark: str) -> None:
        super().__init__(classes="turn")
        self.turn_id = id_
        self.text = ""
        self.header = TurnHeader(author, remark)

    def action_walk(self, step: int) -> None:
        turns = [turn for turn in self.parent.children if isinstance(turn, Turn)] if self.parent else []
        place = turns.index(self) + step
        if 0 <= place < len(turns):
            turns[place].focus()
        elif step > 0:
            self.screen.focus_next()

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(printable(self.text))
        self.post_message(self.Copied(len(self.text)))


class Mine(Turn):
    """What the person wrote, as it was written: no Markdown, no markup."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "edit", "Edit", id="turn.edit", tooltip="Change it, in a branch of the conversation"),
    ]

    @dataclass
    class Edited(Message):
        """The person wants to go on from before this turn, with its text changed."""

        turn: Mine

    def __init__(self, message: StoredMessage) -> None:
        super().__init__(message.id, "You", moment(message.at))
        self.add_class("-mine")
        self.text = message.text
        self.words = Static(Content(printable(self.text[:LONGEST_SHOWN])), classes="words")

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.words
        if (more := len(self.text) - LONGEST_SHOWN) > 0:
            yield Static(Content(f"… and {more:,} more characters"), classes="foot")

    def action_edit(self) -> None:
        self.post_message(self.Edited(self))
