"""Chat: the list of conversations, the open conversation, and the prompt."""

from __future__ import annotations

from asyncio import to_thread
from functools import partial
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen

from app import library_changes
from app.tui.bridge import Began, Happened
from app.tui.chat.conversation import IN_TRASH, ConversationView
from app.tui.chat.conversation_list import UNTITLED, ConversationList
from app.tui.chat.export import export_conversation
from app.tui.chat.first_run import FirstRun
from app.tui.host import HasClient, host
from app.tui.library.history import HistoryScreen
from app.tui.library.listing import Opened
from app.tui.shared.dialogs import ConfirmDialog, TextDialog
from app.tui.shared.status_bar import StatusBar
from app.tui.shared.steady_footer import SteadyFooter
from app.tui.textual_fixes import styled_by_app
from core.events.types import JobChanged, JobKind, LibraryChanged
from core.figures import moment
from core.library.records import Conversation, Revision, RevisionKind
from core.library.trash import TrashKind
from core.text import one_line, printable

WIDE = 100
WIDTHS: list[tuple[int, str]] | None = [(0, "-narrow"), (WIDE, "-wide")]
"""Below 100 columns the list lies over the conversation."""


class ChatScreen(Screen[None], HasClient):
    AUTO_FOCUS = "#prompt"
    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop", tooltip="Stop the reply; unanswered text returns"),
        Binding("ctrl+r", "again", "Again", id="chat.again", tooltip="Answer the last message again"),
        Binding("ctrl+n", "new", "New", id="chat.new", tooltip="Start a new conversation", show=False),
        Binding("ctrl+b", "sidebar", "List", id="chat.list", tooltip="Show or hide the conversations", show=False),
        Binding("ctrl+y", "copy_reply", "Copy", id="chat.copy", tooltip="Copy the last reply", show=False),
        Binding("ctrl+t", "rename", "Rename", id="chat.rename", tooltip="Rename this conversation", show=False),
        Binding("f7", "choose", "Choose", id="chat.choose", show=False, priority=True, tooltip="Choose another model"),
        Binding("f8", "own_file", "Own file", id="chat.own-file", tooltip="Use a model file of your own", show=False),
        Binding("ctrl+s", "export", "Export", id="chat.export", tooltip="Save as a Markdown file", show=False),
    ]

    def __init__(self) -> None:
        # Textual would set it once all is mounted, and style all again.
        super().__init__(classes="-wide" if self.app.size.width >= WIDE else "-narrow")
        styled_by_app(self)
        self.list = ConversationList(id="conversations")
        self.view = ConversationView(id="conversation")
        self.footer = SteadyFooter()
        self.footer.held = True  # its many small widgets would hold up the prompt

    def compose(self) -> ComposeResult:
        with Horizontal(id="chat"):
            yield self.list
            yield self.view
        yield StatusBar()
        yield self.footer

    def on_resize(self, event: events.Resize) -> None:
        """Take the focus from a list that the new size hides."""
        shown = not self.has_class("-folded") if event.size.width >= WIDE else self.has_class("-sidebar")
        if self.list.has_focus_within and not shown:
            self.set_focus(self.view.prompt)

    def on_mount(self) -> None:
        self.view.prompt.focus()
        self.start()

    @on(Began)
    def began(self) -> None:
        self.refresh_list()
        self.view.places.refresh()

    @on(Happened)
    def happened(self, message: Happened) -> None:
        self.view.happened(message.event)
        match message.event:
            case JobChanged(job=JobKind.CHAT):
                self.refresh_list()
            case LibraryChanged(id=id_):
                self.library_changed(id_)

    @work(group="changed")
    async def library_changed(self, id_: str) -> None:
        """Read the list again, unless an entry was changed."""
        with self.view.notice.failures():
            if not id_ or self.list.has(id_) or await to_thread(self.client.conversations.has_conversation, id_):
                self.refresh_list()

    @work(group="change")
    async def start(self) -> None:
        """Show the draft of a new conversation, or else open the latest one."""
        await host(self).drawn()
        self.footer.release()
        try:
            await host(self).opened()
            if await self.view.drafts.load(""):
                return
            with self.view.notice.failures():
                if conversations := await to_thread(self.client.conversations.conversations):
                    await self.view.open(conversations[0].id, keep_text=True)
        finally:
            self.view.drafts.begun.set()

    @on(ConversationView.Changed)
    @work(group="list", exclusive=True)
    async def refresh_list(self) -> None:
        with self.view.notice.failures():
            conversations = await to_thread(self.client.conversations.conversations)
            opened = self.view.conversation.id if self.view.conversation else None
            self.list.show(conversations, opened)

    def action_stop(self) -> None:
        """Close the list over the conversation, or else stop the newest reply; then focus the prompt."""
        self.list.clear_search()
        if self.has_class("-narrow") and self.has_class("-sidebar"):
            self.remove_class("-sidebar")
        elif self.view.live:
            self.view.stop(self.view.live[-1])
        else:
            self.view.leave_branch()
        self.view.prompt.focus()

    @property
    def first_run(self) -> FirstRun:
        return self.view.transcript.first_run

    def action_choose(self) -> None:
        self.first_run.choose(1)

    def action_own_file(self) -> None:
        self.first_run.use_own_file()

    def action_again(self) -> None:
        self.view.regenerate()

    def action_copy_reply(self) -> None:
        self.view.transcript.copy_reply()

    def action_new(self) -> None:
        self.view.open_soon(None)
        self.view.prompt.focus()

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
            self.view.prompt.focus()

    @on(Opened)
    def opened(self, message: Opened) -> None:
        self.view.open_soon(message.id)
        self.remove_class("-sidebar")
        self.view.prompt.focus()

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
            case "history", conversation if conversation is not None:
                self.show_history(conversation)
            case "bring back", _:
                self.bring_back()

    def action_rename(self) -> None:
        if self.view.conversation is not None:
            self.rename(self.view.conversation)

    @work
    async def rename(self, conversation: Conversation) -> None:
        """Ask for a title. What is typed is a draft until it is stored or the dialog is left."""
        place, drafts = f"title:{conversation.id}", self.view.drafts.writer
        with self.view.notice.failures():
            present = await to_thread(self.client.conversations.conversation, conversation.id)
            typed = await drafts.take(place) or printable(present.title)
            dialog = TextDialog("Title of this conversation", typed, partial(drafts.put, place))
            title = await self.app.push_screen_wait(dialog)
            if title and title.strip():
                await to_thread(library_changes.rename_conversation, self.client, conversation.id, title.strip())
            drafts.put(place, "")
        self.refresh_list()

    @work
    async def delete(self, conversation: Conversation) -> None:
        title, last = one_line(conversation.title, 40) or UNTITLED, moment(conversation.updated)
        question = f"Delete “{title}” (last used {last}) and all its messages? It stays in the trash for 30 days."
        if not await self.app.push_screen_wait(ConfirmDialog(question, "Delete")):
            return
        with self.view.notice.failures():
            await to_thread(library_changes.delete_conversation, self.client, conversation.id)
            self.view.notice.say(f"“{title}” {IN_TRASH}")
            self.view.follow_library(conversation.id)
            self.refresh_list()

    def action_history(self) -> None:
        if self.view.conversation is not None:
            self.show_history(self.view.conversation)

    @work
    async def show_history(self, conversation: Conversation) -> None:
        """Show earlier titles and replaced replies, and bring back the chosen one."""
        id_, stored = conversation.id, self.client.conversations
        with self.view.notice.failures():
            revisions = await to_thread(self.client.history.revisions, id_)
            title = (await to_thread(stored.conversation, id_)).title
            replies = {each.id: await to_thread(stored.present, id_, each) for each in revisions}

            def present(revision: Revision) -> str:
                reply = replies[revision.id]
                return title if revision.kind is RevisionKind.TITLE else reply.text if reply else ""

            if not (others := [each for each in revisions if each.text != present(each)]):
                self.view.notice.say("This conversation has no earlier title and no replaced reply.")
                return
            chosen = await self.app.push_screen_wait(HistoryScreen(one_line(title, 60) or UNTITLED, others, present))
            if chosen is not None:
                await to_thread(library_changes.bring_back_revision, self.client, id_, chosen)
                self.view.follow_library(id_)
                self.refresh_list()

    @work
    async def bring_back(self) -> None:
        """Take the conversation that was deleted last from the trash, and open it."""
        with self.view.notice.failures():
            deleted = await to_thread(self.client.trash.items)
            found = next((item for item in deleted if item.kind is TrashKind.CONVERSATION), None)
            if found is None:
                self.view.notice.say("The trash holds no conversation.")
                return
            await to_thread(library_changes.bring_back, self.client, found)
            await self.view.open(found.id)
            self.view.notice.say(f"“{one_line(found.title, 40) or UNTITLED}” is back.")
            self.refresh_list()

    @work
    async def action_export(self) -> None:
        if self.view.conversation is None:
            self.view.notice.say("There is nothing to save yet.")
            return
        id_, stored = self.view.conversation.id, self.client.conversations
        with self.view.notice.failures():
            found, messages = await to_thread(stored.conversation, id_), await to_thread(stored.messages, id_)
            path = await to_thread(export_conversation, found, messages, self.client.paths.exports)
            self.view.notice.say(f"Saved as {path}")
