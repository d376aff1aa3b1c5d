"""Chat: the conversations, the turns of the one that is open, and the prompt."""

from __future__ import annotations

from asyncio import to_thread
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Footer

from app.bridge import Began, Happened
from app.export import export_conversation
from app.widgets.conversation_list import UNTITLED, ConversationList
from app.widgets.dialogs import ConfirmDialog, TextDialog
from app.widgets.notice import FAILURES
from app.widgets.status_bar import StatusBar
from app.widgets.talk import Talk
from core.events import JobChanged
from core.text import one_line, printable
from tasks.jobs import JobKind

if TYPE_CHECKING:
    from app.client import Client
    from app.tui import CharlieApp
    from core.library import Conversation


WIDTHS: list[tuple[int, str]] | None = [(0, "-narrow"), (100, "-wide")]
"""Below 100 columns the conversations lie over the content."""


class ChatScreen(Screen[None]):
    CSS_PATH = "../chat.tcss"
    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop", tooltip="Stop the reply; unanswered text comes back"),
        Binding("ctrl+r", "again", "Again", id="chat.again", tooltip="Have the last message answered again"),
        Binding("ctrl+n", "new", "New", id="chat.new", tooltip="Begin a new conversation", show=False),
        Binding("ctrl+b", "sidebar", "List", id="chat.list", tooltip="Show or hide the conversations", show=False),
        Binding("ctrl+y", "copy_reply", "Copy", id="chat.copy", tooltip="Copy the last reply", show=False),
        Binding("ctrl+t", "rename", "Rename", id="chat.rename", tooltip="Rename this conversation", show=False),
        Binding("ctrl+s", "export", "Export", id="chat.export", tooltip="Save as a Markdown file", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.list = ConversationList(id="conversations")
        self.talk = Talk(id="talk")

    def compose(self) -> ComposeResult:
        with Horizontal(id="chat"):
            yield self.list
            yield self.talk
        yield StatusBar()
        yield Footer()

    @property
    def client(self) -> Client:
        return cast("CharlieApp", self.app).client

    def on_mount(self) -> None:
        self.talk.prompt.focus()
        self.start()

    @on(Began)
    def began(self) -> None:
        self.refresh_list()
        self.talk.refresh_places()

    @on(Happened)
    def happened(self, message: Happened) -> None:
        self.talk.happened(message.event)
        if isinstance(message.event, JobChanged) and message.event.job == JobKind.CHAT:
            self.refresh_list()

    @on(Talk.Changed)
    def changed(self) -> None:
        self.refresh_list()

    @work(group="change")
    async def start(self) -> None:
        """Open the conversation that was used last."""
        try:
            conversations = await to_thread(self.client.library.conversations)
        except FAILURES as error:
            self.talk.notice.fail(error)
            return
        if conversations:
            await self.talk.open(conversations[0].id, keep_text=True)

    @work(group="list", exclusive=True)
    async def refresh_list(self) -> None:
        try:
            conversations = await to_thread(self.client.library.conversations)
        except FAILURES as error:
            self.talk.notice.fail(error)
            return
        opened = self.talk.conversation.id if self.talk.conversation else None
        self.list.show(conversations, opened)

    def action_stop(self) -> None:
        """Close what lies over the content, else stop the reply that was asked for last, else go to the prompt."""
        self.list.forget_search()
        if self.has_class("-narrow") and self.has_class("-sidebar"):
            self.remove_class("-sidebar")
        elif self.talk.live:
            self.talk.stop(self.talk.live[-1])
        self.talk.prompt.focus()

    def action_again(self) -> None:
        self.talk.again()

    def action_copy_reply(self) -> None:
        self.talk.copy_reply()

    def action_new(self) -> None:
        self.talk.open_soon(None)
        self.talk.prompt.focus()

    def action_sidebar(self) -> None:
        if self.has_class("-narrow"):
            self.toggle_class("-sidebar")
            shown = self.has_class("-sidebar")
        else:
            self.toggle_class("-folded")
            shown = not self.has_class("-folded")
        if shown:
            self.list.begin()
        else:
            self.talk.prompt.focus()

    @on(ConversationList.Opened)
    def opened(self, message: ConversationList.Opened) -> None:
        self.talk.open_soon(message.conversation)
        self.remove_class("-sidebar")
        self.talk.prompt.focus()

    @on(ConversationList.Asked)
    def asked(self, message: ConversationList.Asked) -> None:
        match message.what, message.conversation:
            case "new", _:
                self.remove_class("-sidebar")
                self.action_new()
            case "rename", conversation if conversation is not None:
                self.rename(conversation)
            case "delete", conversation if conversation is not None:
                self.delete(conversation)

    def action_rename(self) -> None:
        if self.talk.conversation is not None:
            self.rename(self.talk.conversation)

    @work
    async def rename(self, conversation: Conversation) -> None:
        title = await self.app.push_screen_wait(TextDialog("Title of this conversation", printable(conversation.title)))
        if not title or not title.strip():
            return
        try:
            await to_thread(self.client.library.rename_conversation, conversation.id, title.strip())
        except FAILURES as error:
            self.talk.notice.fail(error)
        self.refresh_list()

    @work
    async def delete(self, conversation: Conversation) -> None:
        title = one_line(conversation.title, 40) or UNTITLED
        question = f"Delete “{title}” and all that was said in it? It cannot be brought back."
        if not await self.app.push_screen_wait(ConfirmDialog(question, "Delete")):
            return
        try:
            await to_thread(self._delete, conversation.id)
            conversations = await to_thread(self.client.library.conversations)
        except FAILURES as error:
            self.talk.notice.fail(error)
            return
        if self.talk.conversation is not None and self.talk.conversation.id == conversation.id:
            await self.talk.open(conversations[0].id if conversations else None)
        self.refresh_list()

    def _delete(self, id_: str) -> None:
        for queued in self.client.queue():
            if queued.job.kind is JobKind.CHAT and queued.job.subject == id_:
                self.client.cancel(queued.job.id)
        self.client.delete_conversation(id_)

    @work
    async def action_export(self) -> None:
        if self.talk.conversation is None:
            self.talk.notice.say("There is nothing to save yet.")
            return
        try:
            path = await to_thread(self._export, self.talk.conversation.id)
        except FAILURES as error:
            self.talk.notice.fail(error)
            return
        self.talk.notice.say(f"Saved as {path}")

    def _export(self, id_: str) -> str:
        library = self.client.library
        folder = self.client.paths.data / "exports"
        return str(export_conversation(library.conversation(id_), library.messages(id_), folder))
