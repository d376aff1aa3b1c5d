"""The conversation that is open: its turns, what is said about it, and the prompt."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never, cast

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Markdown

from app.widgets.following import Following
from app.widgets.job_line import JobLine
from app.widgets.notice import FAILURES, Notice
from app.widgets.prompt import Prompt
from app.widgets.reply import Reply
from app.widgets.transcript import Transcript
from app.widgets.turn import Mine, Turn
from core.events import Event, JobChanged, QueueChanged
from core.text import one_line, printable
from tasks.jobs import Ended, Hits, Job, JobKind, JobState, Text

if TYPE_CHECKING:
    from app.client import Client
    from app.tui import CharlieApp
    from core.library import Conversation, StoredMessage

UNANSWERED = "The last message has no reply · ^R asks for one"


class Talk(Vertical):
    """One conversation at a time, or none yet. Every change of its turns is made while `_changing` is held."""

    @dataclass
    class Changed(Message):
        """Another conversation is open, or this one has a new turn."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.conversation: Conversation | None = None
        self._drafts: dict[str, str] = {}
        self._prompt_of = ""
        """The conversation that the prompt is of: the one that is open, or on its way."""
        self._turned = 0
        """How often a conversation was asked for; a new one may be asked for twice before it has a name."""
        self._following: dict[str, Following] = {}
        self._placing = self._places_asked = False
        self._changing = asyncio.Lock()
        self.transcript = Transcript(id="transcript")
        self.notice = Notice(id="chat-notice")
        self.prompt = Prompt(id="prompt")

    def compose(self) -> ComposeResult:
        yield self.transcript
        yield self.notice
        yield self.prompt

    async def on_unmount(self) -> None:
        for following in self._stop_following():
            await to_thread(following.join)

    @property
    def client(self) -> Client:
        return cast("CharlieApp", self.app).client

    @property
    def live(self) -> list[Reply]:
        """The replies that are being made or wait, oldest first."""
        return [reply for reply in self.transcript.replies if reply.job is not None]

    def happened(self, event: Event) -> None:
        """Show what happened to the replies that wait, and those that were asked for elsewhere."""
        if isinstance(event, JobChanged) and event.state == "queued" and event.job != JobKind.CHAT:
            return  # there may be thousands, and each goes behind all that waits
        lines = self.query(JobLine)
        for line in lines:
            line.happened(event)
        if isinstance(event, JobChanged | QueueChanged) and any(line.state is JobState.QUEUED for line in lines):
            self.refresh_places()
        if isinstance(event, JobChanged) and event.job == JobKind.CHAT and event.state == "queued":
            self.attach(event.id, event.subject)

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
                    if reply.replaces:
                        self.bring_back(reply, output.state)
                case _:
                    assert_never(output)

    def refresh_places(self) -> None:
        """Tell each job that waits where it stands; events that come meanwhile are answered by one more reading."""
        self._places_asked = True
        if not self._placing:
            self._placing = True
            self.place()

    @work(group="places")
    async def place(self) -> None:
        while self._places_asked:
            self._places_asked = False
            lines = list(self.query(JobLine))
            try:
                queue = await to_thread(self.client.places, [line.job_id for line in lines])
            except FAILURES as error:
                self.notice.fail(error)
                break
            for line in lines:
                line.place(queue)
        self._placing = False

    @work(group="change")
    async def attach(self, job_id: str, conversation: str) -> None:
        """Show a reply that somebody else has asked for in this conversation."""
        async with self._changing:
            open_id = self.conversation.id if self.conversation else None
            known = open_id != conversation or self.transcript.reply(job_id) is not None
        if not known:
            await self.open(conversation)

    def open_soon(self, id_: str | None) -> None:
        """Show another conversation; what is typed from now on is for that one, however long it takes to come."""
        self._turned += 1
        self._turn_prompt_to(id_)
        self._open_soon(id_)

    @work(group="change")
    async def _open_soon(self, id_: str | None) -> None:
        await self._show(id_)

    def _turn_prompt_to(self, id_: str | None) -> None:
        """Keep what is in the prompt for the conversation that it was for, and put back what this one had in it."""
        if self._prompt_of != (id_ or ""):
            self._drafts[self._prompt_of] = self.prompt.text
            self._prompt_of = id_ or ""
            self.prompt.put(self._drafts.pop(self._prompt_of, ""))

    async def open(self, id_: str | None, *, keep_text: bool = False) -> None:
        """Show another conversation, or an empty one; its draft comes into the prompt unless `keep_text`."""
        if keep_text:
            self._prompt_of = id_ or ""
        self._turn_prompt_to(id_)
        await self._show(id_)

    async def _show(self, id_: str | None) -> None:
        async with self._changing:
            found: tuple[Conversation, list[Job], list[StoredMessage]] | None = None
            if id_ is not None:
                try:
                    found = await to_thread(self._read, id_)
                except FAILURES as error:
                    if self._prompt_of == id_:
                        self._turn_prompt_to(self.conversation.id if self.conversation else None)
                    self.notice.fail(error)
                    return
            self._stop_following()
            conversation, jobs, messages = found or (None, [], [])
            stored = {message.id for message in messages}
            live = [Reply.live(job) for job in jobs if job.id not in stored]
            replaced = {message for reply in live for message in reply.replaces}
            turns: list[tuple[str, StoredMessage | Reply]] = [(m.id, m) for m in messages if m.id not in replaced]
            turns += [(reply.turn_id, reply) for reply in live]
            self.conversation = conversation
            await self.transcript.show([turn for _, turn in sorted(turns, key=lambda pair: pair[0])])
            for reply in live:
                self._follow(reply)
            self.prompt.remember([message.text for message in messages if message.role == "user"])
            self.notice.clear()
            if messages and messages[-1].role == "user" and not live:
                self.notice.say(UNANSWERED)
        self.post_message(self.Changed())
        self.refresh_places()

    def _read(self, id_: str) -> tuple[Conversation, list[Job], list[StoredMessage]]:
        # The queue before the messages: a reply that ends in between is then in both, never in neither.
        jobs = [queued.job for queued in self.client.queue()]
        mine = [job for job in jobs if job.kind is JobKind.CHAT and job.subject == id_ and not job.state.ended]
        return self.client.library.conversation(id_), mine, self.client.library.messages(id_)

    @on(Prompt.Scrolled)
    def scrolled(self, message: Prompt.Scrolled) -> None:
        self.transcript.page(message.pages, far=message.far)

    @on(Prompt.Submitted)
    def submitted(self, message: Prompt.Submitted) -> None:
        self.send(message.text, self._turned)

    @work(group="change")
    async def send(self, text: str, turned: int) -> None:
        async with self._changing:
            try:
                if self.conversation is None:
                    self.conversation = await to_thread(self.client.library.new_conversation)
                    if turned == self._turned:
                        self._prompt_of = self.conversation.id
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
        self.post_message(self.Changed())
        self.refresh_places()

    def _ask(self, conversation: str, text: str) -> tuple[Job, StoredMessage]:
        job = self.client.chat(conversation, text)
        mine = [m for m in self.client.library.messages(conversation) if m.role == "user" and m.id < job.id]
        return job, mine[-1]

    @work(group="change")
    async def again(self) -> None:
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
            reply = Reply.live(job)
            await self.transcript.add(reply)
            self.transcript.anchor()
            self._follow(reply)
        self.refresh_places()

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

    @work(group="change")
    async def bring_back(self, reply: Reply, state: JobState) -> None:
        """Show the replies again that an attempt was to replace, as far as they are stored still."""
        async with self._changing:
            if self.conversation is None or self.transcript.reply(reply.turn_id) is not reply:
                return
            try:
                messages = await to_thread(self.client.library.messages, self.conversation.id)
            except FAILURES as error:
                self.notice.fail(error)
                return
            stay = [Reply.of(message) for message in messages if message.id in reply.replaces]
            reply.replaces = []
            if not stay:
                return
            await self.transcript.add(*stay, before=reply)
            # A failure says why it is one; of a reply that was stopped in time nothing needs to stay.
            if state is JobState.CANCELLED and not reply.text:
                await self.transcript.take_out([reply])

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
        await self.open(new.id)
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

    def copy_reply(self) -> None:
        replies = [reply for reply in self.transcript.replies if reply.text]
        if replies:
            replies[-1].action_copy()

    def _follow(self, reply: Reply) -> None:
        self._following[reply.turn_id] = Following(self.client, reply.turn_id, self)

    def _stop_following(self) -> list[Following]:
        followings = list(self._following.values())
        for following in followings:
            following.stop()
        self._following.clear()
        return followings
