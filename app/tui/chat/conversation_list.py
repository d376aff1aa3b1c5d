"""The list of conversations, latest first, with a search field."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static
from textual.widgets.option_list import Option

from app.tui.host import host
from app.tui.library.listing import Listing
from app.tui.shared.coalesced import Coalesced
from app.tui.shared.notice import Notice
from app.tui.shared.typing_fields import TypingField
from core.library.records import Conversation
from core.text import contains, fold, one_line

UNTITLED = "New conversation"
OTHER_CELLS = 5
"""Cells of a line beside the title: the padding, the mark and its space, the scrollbar."""
SHORTEST_TITLE = 16
INDENT = "\u00a0\u00a0"
"""No-break spaces: a line keeps them at its start."""


class ConversationList(Listing):
    """Posts the user's choices to the screen, which carries them out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", id="conversations.search", tooltip="Search the conversations"),
        Binding("n", "ask('new')", "New", id="conversations.new", tooltip="Start a new conversation"),
        Binding("r", "ask('rename')", "Rename", id="conversations.rename", tooltip="Rename the conversation"),
        Binding("d,delete", "ask('delete')", "Delete", id="conversations.delete", tooltip="Delete the conversation"),
        Binding("u", "ask('bring back')", "Undo", id="conversations.undo", tooltip="Bring back the last deleted one"),
        Binding(
            "h", "ask('history')", "History", id="conversations.history", tooltip="Show earlier titles and replies"
        ),
        Binding("t", "app.trash", "Trash", id="conversations.trash", tooltip="Show what was deleted"),
    ]

    @dataclass
    class Asked(Message):
        """The user asks for `what` with the highlighted conversation, or with the open one if the list has no focus."""

        what: str
        conversation: Conversation | None

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._conversations: list[Conversation] = []
        self._open: str | None = None
        self._width = 0
        self._sought = ""
        self._with_messages: set[str] = set()
        """Ids of the conversations that have the sought text in a message."""
        self.none = Static(classes="none")
        self.field = TypingField(placeholder="/ search", compact=True, id="conversation-search")
        self.notice = Notice()
        self._seeking = Coalesced(self, self._seek, self.notice.fail)

    def on_resize(self, event: events.Resize) -> None:
        if event.size.width != self._width:
            self._width = event.size.width
            self._fill()

    def compose(self) -> ComposeResult:
        yield Static(Content("Conversations"), classes="heading")
        yield self.options
        yield self.none
        yield self.notice
        yield self.field

    def show(self, conversations: Sequence[Conversation], opened: str | None) -> None:
        if (self._conversations, self._open) != (list(conversations), opened):
            self._conversations, self._open = list(conversations), opened
            self._fill()
        if self._sought:
            self._seeking.request()

    def has(self, id_: str) -> bool:
        return any(conversation.id == id_ for conversation in self._conversations)

    @property
    def highlighted(self) -> Conversation | None:
        option = self.options.highlighted_option
        return next((c for c in self._conversations if option is not None and c.id == option.id), None)

    def begin(self) -> None:
        """Focus the list, with the cursor on the open conversation."""
        for place, option in enumerate(self.options.options):
            if option.id == self._open:
                self.options.highlighted = place
        self.options.focus()

    def clear_search(self) -> None:
        self.field.value = ""

    def action_search(self) -> None:
        self.field.focus()

    def action_ask(self, what: str) -> None:
        opened = next((c for c in self._conversations if c.id == self._open), None)
        self.post_message(self.Asked(what, self.highlighted if self.has_focus_within else opened))

    @on(Input.Changed)
    def narrow(self) -> None:
        """Show the titles with the text at once, and conversations with it in a message once they are found."""
        self._sought = self.field.value.strip()
        self._with_messages = set()
        self.notice.clear()
        self._fill()
        self._seeking.request()

    async def _seek(self) -> None:
        if not (sought := self._sought):
            return
        search = host(self).client.conversations.containing
        found = await to_thread(search, sought, lambda: self._sought != sought)
        if self._sought == sought:
            self._with_messages = found
            self._fill()

    @on(Input.Submitted)
    def choose_first(self) -> None:
        options = self.options
        if options.option_count:
            options.focus()
            options.action_first()

    def _fill(self) -> None:
        sought = fold(self._sought)
        found = [c for c in self._conversations if c.id in self._with_messages or contains(c.title, sought)]
        self.refill([Option(self._label(c), c.id) for c in found], self._open)
        self.none.display = not found
        if not found:
            self.none.update(
                "No conversation contains this." if self._conversations else "None yet. Write to start one."
            )

    def _label(self, conversation: Conversation) -> Content:
        title = one_line(conversation.title, max(self._width - OTHER_CELLS, SHORTEST_TITLE)) or UNTITLED
        if conversation.id == self._open:
            return Content.assemble(("▸\u00a0", "bold $accent"), (title, "bold"))
        return Content(f"{INDENT}{title}")
