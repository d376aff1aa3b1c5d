"""Chat: the conversations, the turns of the one that is open, and the prompt."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from typing import TYPE_CHECKING, ClassVar, assert_never, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer, Markdown

from app.bridge import Began, Happened
from app.export import export_conversation
from app.widgets.conversation_list import UNTITLED, ConversationList
from app.widgets.dialogs import ConfirmDialog, TextDialog
from app.widgets.following import Following
from app.widgets.job_line import JobLine
from app.widgets.notice import FAILURES, Notice
from app.widgets.prompt import Prompt
from app.widgets.reply import Reply
from app.widgets.status_bar import StatusBar
from app.widgets.transcript import Transcript
from app.widgets.turn import Mine, Turn
from core.events import JobChanged, QueueChanged
from core.text import one_line, printable
from tasks.jobs import Ended, Hits, Job, JobKind, JobState, Text

if TYPE_CHECKING:
    from app.client import Client
    from app.tui import CharlieApp
    from core.library import Conversation, StoredMessage

UNANSWERED = "The last message has no reply · ^R asks for one"

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
        self.conversation: Conversation | None = None
        self._drafts: dict[str, str] = {}
        self._following: dict[str, Following] = {}
        self._changing = asyncio.Lock()
        """Held while the turns of the open conversation change, so that no two changes mix."""
        self.list = ConversationList(id="conversations")
        self.transcript = Transcript(id="transcript")
        self.notice = Notice(id="chat-notice")
        self.prompt = Prompt(id="prompt")

    def compose(self) -> ComposeResult:
        with Horizontal(id="chat"):
            yield self.list
            with Vertical(id="talk"):
                yield self.transcript
                yield self.notice
                yield self.prompt
        yield StatusBar()
        yield Footer()

    @property
    def client(self) -> Client:
        return cast("CharlieApp", self.app).client

    @property
    def live(self) -> list[Reply]:
        """The replies that are being made or wait, oldest first."""
        return [reply for reply in self.transcript.replies if reply.job is not None]

    def on_mount(self) -> None:
        self.prompt.focus()
        self.start()

    async def on_unmount(self) -> None:
        followings = self._stop_following()
        for following in followings:
            await to_thread(following.join)

    # What happens elsewhere.

    @on(Began)
    def began(self) -> None:
        self.refresh_list()
        self.refresh_places()

    @on(Happened)
    def happened(self, message: Happened) -> None:
        event = message.event
        lines = self.query(JobLine)
        for line in lines:
            line.happened(event)
        if isinstance(event, JobChanged | QueueChanged) and any(line.state is JobState.QUEUED for line in lines):
            self.refresh_places()
        if isinstance(event, JobChanged) and event.job == JobKind.CHAT:
            self.refresh_list()
            if self.conversation is not None and event.subject == self.conversation.id and event.state == "queued":
                self.attach(event.id)

    @on(Following.Came)
    async def came(self, message: Following.Came) -> None:
        following = message.following
        for output in following.take():
            reply = self.transcript.reply(following.job_id)
            if reply is None or following.stopped:
                return
            match output:
                case Text(text):
                    await reply.write(text)
                case Hits():
                    pass
                case Ended():
                    self._following.pop(following.job_id, None)
                    await reply.finish(output)
                    if output.state is JobState.CANCELLED and not reply.text and not reply.again:
                        self.take_back(reply)
                case _:
                    assert_never(output)

    # Reading the library.

    @work(group="change")
    async def start(self) -> None:
        """Open the conversation that was used last."""
        try:
            conversations = await to_thread(self.client.library.conversations)
        except FAILURES as error:
            self.notice.fail(error)
            return
        if conversations:
            await self._open(conversations[0].id, keep_text=True)

    @work(group="list", exclusive=True)
    async def refresh_list(self) -> None:
        try:
            conversations = await to_thread(self.client.library.conversations)
        except FAILURES as error:
            self.notice.fail(error)
            return
        opened = self.conversation.id if self.conversation else None
        self.list.show(conversations, opened)

    @work(group="places", exclusive=True)
    async def refresh_places(self) -> None:
        """Tell each waiting reply where it stands in the queue."""
        try:
            queue = await to_thread(self.client.queue)
        except FAILURES as error:
            self.notice.fail(error)
            return
        for line in self.query(JobLine):
            line.place(queue)

    @work(group="change")
    async def attach(self, job_id: str) -> None:
        """Show a reply that somebody else has asked for in this conversation."""
        async with self._changing:
            known = self.conversation is None or self.transcript.reply(job_id) is not None
        if not known and self.conversation is not None:
            await self._open(self.conversation.id)

    @work(group="change")
    async def open_conversation(self, id_: str | None) -> None:
        await self._open(id_)

    async def _open(self, id_: str | None, *, keep_text: bool = False) -> None:
        async with self._changing:
            found: tuple[Conversation, list[Job], list[StoredMessage]] | None = None
            if id_ is not None:
                try:
                    found = await to_thread(self._read, id_)
                except FAILURES as error:
                    self.notice.fail(error)
                    return
            before = self.conversation.id if self.conversation else ""
            self._stop_following()
            for reply in self.transcript.replies:
                await reply.drop_stream()
            conversation, jobs, messages = found or (None, [], [])
            stored = {message.id for message in messages}
            live = [Reply.live(job) for job in jobs if job.id not in stored]
            turns: list[tuple[str, StoredMessage | Reply]] = [(message.id, message) for message in messages]
            turns += [(reply.turn_id, reply) for reply in live]
            self.conversation = conversation
            await self.transcript.show([turn for _, turn in sorted(turns, key=lambda pair: pair[0])])
            for reply in live:
                self._follow(reply)
            self.prompt.remember([message.text for message in messages if message.role == "user"])
            if before != (id_ or "") and not keep_text:
                self._drafts[before] = self.prompt.text
                self.prompt.put(self._drafts.pop(id_ or "", ""))
            self.notice.clear()
            if messages and messages[-1].role == "user" and not live:
                self.notice.say(UNANSWERED)
        self.refresh_list()
        self.refresh_places()

    def _read(self, id_: str) -> tuple[Conversation, list[Job], list[StoredMessage]]:
        # The queue before the messages: a reply that ends in between is then in both, never in neither.
        jobs = [queued.job for queued in self.client.queue()]
        mine = [job for job in jobs if job.kind is JobKind.CHAT and job.subject == id_ and not job.state.ended]
        return self.client.library.conversation(id_), mine, self.client.library.messages(id_)

    # Asking and stopping.

    @on(Prompt.Submitted)
    def submitted(self, message: Prompt.Submitted) -> None:
        self.send(message.text)

    @work(group="change")
    async def send(self, text: str) -> None:
        async with self._changing:
            try:
                if self.conversation is None:
                    self.conversation = await to_thread(self.client.library.new_conversation)
                job, message = await to_thread(self._ask, self.conversation.id, text)
            except FAILURES as error:
                self.prompt.give_back(text)
                self.notice.fail(error)
                return
            self.notice.clear()
            reply = Reply.live(job)
            await self.transcript.add(Mine(message), reply)
            self.transcript.anchor()
            self._follow(reply)
        self.refresh_list()
        self.refresh_places()

    def _ask(self, conversation: str, text: str) -> tuple[Job, StoredMessage]:
        job = self.client.chat(conversation, text)
        mine = [m for m in self.client.library.messages(conversation) if m.role == "user" and m.id < job.id]
        return job, mine[-1]

    @work(group="change")
    async def action_again(self) -> None:
        async with self._changing:
            if self.conversation is None or self.live:
                self.notice.say("A reply is on its way · Esc stops it" if self.live else "Write a message first.")
                return
            try:
                job = await to_thread(self.client.regenerate, self.conversation.id)
            except FAILURES as error:
                self.notice.fail(error)
                return
            self.notice.clear()
            turns = self.transcript.turns
            last = max((n for n, turn in enumerate(turns) if isinstance(turn, Mine)), default=-1)
            await self.transcript.take_out(turns[last + 1 :])
            reply = Reply.live(job, again=True)
            await self.transcript.add(reply)
            self.transcript.anchor()
            self._follow(reply)
        self.refresh_places()

    def action_stop(self) -> None:
        """Close what lies over the content, else stop the reply that was asked for last, else go to the prompt."""
        if self.has_class("-narrow") and self.has_class("-sidebar"):
            self.remove_class("-sidebar")
        elif self.live:
            self.stop(self.live[-1])
        self.prompt.focus()

    @work(group="stop")
    async def stop(self, reply: Reply) -> None:
        try:
            await to_thread(self.client.cancel, reply.turn_id)
        except FAILURES as error:
            self.notice.fail(error)

    @work(group="change")
    async def take_back(self, reply: Reply) -> None:
        """Nothing was said: what was typed returns to the prompt."""
        async with self._changing:
            if self.conversation is None or self.transcript.reply(reply.turn_id) is not reply:
                return
            try:
                text = await to_thread(self.client.drop_reply, self.conversation.id)
            except FAILURES as error:
                self.notice.fail(error)
                return
            if not text:
                return
            turns = self.transcript.turns
            mine = [turn for turn in turns[: turns.index(reply)] if isinstance(turn, Mine)]
            await self.transcript.take_out([*mine[-1:], reply])
            self.prompt.give_back(text)

    def _follow(self, reply: Reply) -> None:
        self._following[reply.turn_id] = Following(self.client, reply.turn_id, self)

    def _stop_following(self) -> list[Following]:
        followings = list(self._following.values())
        for following in followings:
            following.stop()
        self._following.clear()
        return followings

    # The conversations.

    def action_new(self) -> None:
        self.open_conversation(None)
        self.prompt.focus()

    def action_sidebar(self) -> None:
        if self.has_class("-narrow"):
            self.toggle_class("-sidebar")
            shown = self.has_class("-sidebar")
        else:
            self.toggle_class("-folded")
            shown = not self.has_class("-folded")
        if shown:
            self.list.options.focus()
        else:
            self.prompt.focus()

    @on(ConversationList.Opened)
    def opened(self, message: ConversationList.Opened) -> None:
        self.open_conversation(message.conversation)
        self.remove_class("-sidebar")
        self.prompt.focus()

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
        if self.conversation is not None:
            self.rename(self.conversation)

    @work
    async def rename(self, conversation: Conversation) -> None:
        title = await self.app.push_screen_wait(TextDialog("Title of this conversation", printable(conversation.title)))
        if not title or not title.strip():
            return
        try:
            await to_thread(self.client.library.rename_conversation, conversation.id, title.strip())
        except FAILURES as error:
            self.notice.fail(error)
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
            self.notice.fail(error)
            return
        if self.conversation is not None and self.conversation.id == conversation.id:
            await self._open(conversations[0].id if conversations else None)
        self.refresh_list()

    def _delete(self, id_: str) -> None:
        for queued in self.client.queue():
            if queued.job.kind is JobKind.CHAT and queued.job.subject == id_:
                self.client.cancel(queued.job.id)
        self.client.library.delete_conversation(id_)

    # The turns.

    @on(Mine.Edited)
    def edited(self, message: Mine.Edited) -> None:
        self.branch(message.turn)

    @work(group="change")
    async def branch(self, turn: Mine) -> None:
        if self.conversation is None:
            return
        try:
            new = await to_thread(self.client.library.branch, self.conversation.id, turn.turn_id)
        except FAILURES as error:
            self.notice.fail(error)
            return
        await self._open(new.id)
        self.prompt.give_back(turn.text)
        self.prompt.focus()
        self.notice.say("A branch of the conversation · the other one stays as it was")

    @on(Turn.Copied)
    def copied(self, message: Turn.Copied) -> None:
        self.notice.say(f"Copied {message.characters:,} characters")

    @on(Markdown.LinkClicked)
    def link(self, event: Markdown.LinkClicked) -> None:
        """Nothing that a model wrote is opened; the address can be looked at first."""
        self.app.copy_to_clipboard(printable(event.href))
        self.notice.say(f"Copied the address {one_line(event.href, 200)}")

    def action_copy_reply(self) -> None:
        replies = [reply for reply in self.transcript.replies if reply.text]
        if replies:
            replies[-1].action_copy()

    @work
    async def action_export(self) -> None:
        if self.conversation is None:
            self.notice.say("There is nothing to save yet.")
            return
        try:
            path = await to_thread(self._export, self.conversation.id)
        except FAILURES as error:
            self.notice.fail(error)
            return
        self.notice.say(f"Saved as {path}")

    def _export(self, id_: str) -> str:
        library = self.client.library
        folder = self.client.paths.data / "exports"
        return str(export_conversation(library.conversation(id_), library.messages(id_), folder))
