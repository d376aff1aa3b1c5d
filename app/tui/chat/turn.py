"""One turn of a conversation: author, time and text. Keys go to the next turn, copy it or edit it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from core.figures import moment
from core.library.records import StoredMessage
from core.text import printable

LONGEST_SHOWN = 8_000
"""Characters drawn of a user's message; the whole is sent, copied and exported."""


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
    """A message of either side. `text` is as stored."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "walk(-1)", "Earlier turn", show=False, id="turn.earlier", tooltip="Go to the previous turn"),
        Binding("down,j", "walk(1)", "Later turn", show=False, id="turn.later", tooltip="Go to the next turn"),
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


class UserTurn(Turn):
    """A message of the user, shown as typed: no Markdown, no markup."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "edit", "Edit", id="turn.edit", tooltip="Edit this message in a new branch of the conversation"),
    ]

    @dataclass
    class Edited(Message):
        """The user wants to edit this turn's text and continue from there."""

        turn: UserTurn

    def __init__(self, message: StoredMessage) -> None:
        super().__init__(message.id, "You", moment(message.at))
        self.add_class("-user")
        self.text = message.text
        self.shown_text = Static(Content(printable(self.text[:LONGEST_SHOWN])))

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.shown_text
        if (more := len(self.text) - LONGEST_SHOWN) > 0:
            yield Static(Content(f"… and {more:,} more characters"), classes="foot")

    def action_edit(self) -> None:
        self.post_message(self.Edited(self))
