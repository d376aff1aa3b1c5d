"""The conversations, the last used first, and a field that searches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from app.widgets.typing_fields import TypingField
from core.library import Conversation
from core.text import one_line

INVITATION = "None yet. Write to begin one."
UNTITLED = "New conversation"
WIDTH = 60
INDENT = "\u00a0\u00a0"
"""Spaces that a line does not lose at its beginning."""


class ConversationList(Vertical):
    """What is chosen or asked for here is done by the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", id="conversations.search", tooltip="Search the conversations"),
        Binding("n", "ask('new')", "New", id="conversations.new", tooltip="Begin a new conversation"),
        Binding("r", "ask('rename')", "Rename", id="conversations.rename", tooltip="Give it another title"),
        Binding("d,delete", "ask('delete')", "Delete", id="conversations.delete", tooltip="Delete it, after asking"),
    ]

    @dataclass
    class Opened(Message):
        conversation: str

    @dataclass
    class Asked(Message):
        """`what` (new, rename, delete) is wanted with the highlighted conversation."""

        what: str
        conversation: Conversation | None

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._conversations: list[Conversation] = []
        self._open: str | None = None
        self.options = OptionList(compact=True)
        self.none = Static(classes="none")
        self.field = TypingField(placeholder="/ search", compact=True, id="conversation-search")

    def compose(self) -> ComposeResult:
        yield Static(Content("Conversations"), classes="heading")
        yield self.options
        yield self.none
        yield self.field

    def show(self, conversations: Sequence[Conversation], opened: str | None) -> None:
        self._conversations = list(conversations)
        self._open = opened
        self._fill()

    @property
    def highlighted(self) -> Conversation | None:
        option = self.options.highlighted_option
        return next((c for c in self._conversations if option is not None and c.id == option.id), None)

    def begin(self) -> None:
        """Take the focus, with the cursor on the open conversation."""
        for place, option in enumerate(self.options.options):
            if option.id == self._open:
                self.options.highlighted = place
        self.options.focus()

    def forget_search(self) -> None:
        self.field.value = ""

    def action_search(self) -> None:
        self.field.focus()

    def action_ask(self, what: str) -> None:
        self.post_message(self.Asked(what, self.highlighted))

    @on(Input.Changed)
    def narrow(self) -> None:
        self._fill()

    @on(Input.Submitted)
    def choose_first(self) -> None:
        options = self.options
        if options.option_count:
            options.focus()
            options.action_first()

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Opened(event.option_id))

    def _fill(self) -> None:
        options = self.options
        before = options.highlighted_option.id if options.highlighted_option else self._open
        sought = self.field.value.strip().casefold()
        found = [c for c in self._conversations if sought in c.title.casefold()]
        options.set_options([Option(self._label(c), c.id) for c in found])
        ids = [c.id for c in found]
        wanted = before if before in ids else self._open
        if wanted in ids:
            options.highlighted = ids.index(wanted)
        self.none.display = not found
        self.none.update(
            Content("No title has that in it." if self._conversations else "None yet. Write to begin one.")
        )

    def _label(self, conversation: Conversation) -> Content:
        title = one_line(conversation.title, WIDTH) or UNTITLED
        if conversation.id == self._open:
            return Content.assemble(("▸\u00a0", "bold $accent"), (title, "bold"))
        return Content(f"{INDENT}{title}")
