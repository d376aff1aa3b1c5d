"""The open conversation: its turns, a notice, and the prompt."""

from __future__ import annotations

from asyncio import Lock, gather, to_thread
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, assert_never

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import TextArea

from app.tui.chat.prompt import Prompt
from app.tui.chat.prompt_drafts import PromptDrafts
from app.tui.chat.reply import Reply
from app.tui.chat.transcript import Transcript
from app.tui.chat.turn import Turn, UserTurn
from app.tui.host import HasClient, host
from app.tui.shared.job_follower import JobFollower
from app.tui.shared.notice import Notice, failures
from app.tui.shared.queue_places import QueuePlaces
from core.events.types import Event, JobChanged, JobKind, JobState, LibraryChanged
from core.library.records import TITLE_WIDTH, Conversation, RevisionKind, StoredMessage
from core.text import one_line, printable
from tasks.jobs.records import Ended, Hits, Job, Text, Thought

if TYPE_CHECKING:
    from textual.widgets import Markdown

UNANSWERED = "The last message has no reply · ^R asks for one"
IN_TRASH = "is in the trash. In the list, u brings it back, t shows the trash."


class ConversationView(Vertical, HasClient):
    """Shows one conversation, or none yet. Its turns change only under the lock `_changing`."""

    @dataclass
    class Changed(Message):
        """Another conversation was opened, or this one has a new turn."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.conversation: Conversation | None = None
        self._branch: tuple[str, UserTurn] | None = None
        """The conversation, and its turn at which the next message begins a new one."""
        self._opened = 0
        """Counts openings: two new conversations in a row have no id to tell them apart."""
        self._followers: dict[str, JobFollower] = {}
        self._changing = Lock()
        self.transcript = Transcript(id="transcript")
        self.notice = Notice(id="chat-notice")
        self.prompt = Prompt(id="prompt")
        self.drafts = PromptDrafts(self, self.prompt)
        self.places = QueuePlaces(self, self.notice)

    def compose(self) -> ComposeResult:
        yield self.transcript
        yield self.notice
        yield self.prompt

    async def on_unmount(self) -> None:
        await self.drafts.close()
        await gather(*(to_thread(follower.join) for follower in self._stop_following()))

    @property
    def live(self) -> list[Reply]:
        """The replies that stream or wait, oldest first."""
        return [reply for reply in self.transcript.replies if reply.job is not None]

    def happened(self, event: Event) -> None:
        """Update the waiting replies, and show one that another process asked for."""
        if isinstance(event, JobChanged) and event.state == "queued" and event.job != JobKind.CHAT:
            return  # there may be thousands, each behind all that wait here
        self.places.happened(event)
        if isinstance(event, LibraryChanged):
            self.follow_library(event.id)
        if isinstance(event, JobChanged) and event.job == JobKind.CHAT and event.state == "queued":
            self.attach(event.id, event.subject)

    @on(JobFollower.Came)
    def came(self, message: JobFollower.Came) -> None:
        draw = partial(self.call_later, self._draw, message.follower)
        reply = self.transcript.reply(message.follower.job_id)
        first = reply is None or not reply.text  # right after a key, Enter
        draw() if first else host(self).between_keys(draw)

    async def _draw(self, follower: JobFollower) -> None:
        for output in follower.take():
            reply = self.transcript.reply(follower.job_id)
            if reply is None or follower.stopped:
                return
            match output:
                case Text() | Thought():
                    await reply.write(output)
                case Hits():
                    pass
                case Ended():
                    self._followers.pop(follower.job_id, None)
                    await reply.finish(output)
                    if reply.regenerated:
                        self.run_worker(self._show_earlier())
                    if output.state is JobState.CANCELLED and not reply.text and not reply.regenerated:
                        self._unsend(reply)
                    if reply.replaces:
                        self._restore_replaced(reply, output.state)
                case _:
                    assert_never(output)

    @work(group="change")
    async def attach(self, job_id: str, conversation: str) -> None:
        """Show a reply that another process has asked for in this conversation."""
        async with self._changing:
            open_id = self.conversation.id if self.conversation else None
            known = open_id != conversation or self.transcript.reply(job_id) is not None
        if not known:
            await self.open(conversation)

    @work(group="change")
    async def follow_library(self, changed: str) -> None:
        """Close the open conversation if it was deleted, and show what was changed elsewhere."""
        async with self._changing:
            id_ = self.conversation.id if self.conversation else ""
            if not id_ or changed not in ("", id_) or self.drafts.shown != id_:
                return
            with self.notice.failures():
                there = await to_thread(self.client.conversations.has_conversation, id_)
                messages = await to_thread(self.client.conversations.messages, id_)
                replaced = {message for reply in self.live for message in reply.replaces}
                stored = [(m.id, m.text) for m in messages if m.text and m.id not in replaced]
            self.transcript.show_support(messages)
        if not there:
            await self.open(None, keep_text=True)
            self.notice.say(f"This conversation {IN_TRASH}")
        elif stored != self.transcript.stored:
            await self._show(id_)

    def open_soon(self, id_: str | None) -> None:
        """Show another conversation later; text typed from now on belongs to it."""
        self._opened += 1
        self.drafts.switch(id_ or "")
        self.run_worker(self._show(id_), group="change")

    async def open(self, id_: str | None, *, keep_text: bool = False) -> None:
        """Show another conversation or a new one, and its draft in the prompt unless `keep_text`."""
        if keep_text:
            self.drafts.move(id_ or "")
        self.drafts.switch(id_ or "")
        await self._show(id_)

    async def _show(self, id_: str | None, before: UserTurn | None = None) -> None:
        """Show a conversation, or of it only the turns before `before`, at which the next message branches."""
        async with self._changing:
            found: tuple[Conversation, list[Job], list[StoredMessage]] | None = None
            if id_ is not None:
                try:
                    found = await to_thread(self._read, id_)
                except failures() as error:
                    if self.drafts.shown == id_:
                        self.drafts.switch(self.conversation.id if self.conversation else "")
                    self.notice.fail(error)
                    return
            self._stop_following()
            conversation, jobs, messages = found or (None, [], [])
            self._branch = (id_, before) if id_ and before else None
            if before:
                conversation, jobs, messages = None, [], [each for each in messages if each.id < before.turn_id]
            stored = {message.id for message in messages}
            live = [Reply.live(job) for job in jobs if job.id not in stored]
            replaced = {message for reply in live for message in reply.replaces}
            turns: list[tuple[str, StoredMessage | Reply]] = [(m.id, m) for m in messages if m.id not in replaced]
            turns += [(reply.turn_id, reply) for reply in live]
            self.conversation = conversation
            self.post_message(self.Changed())  # before the turns are there, so that all is laid out once
            await self.transcript.show([turn for _, turn in sorted(turns, key=lambda pair: pair[0])])
            for reply in live:
                self._follow(reply.turn_id)
            self.prompt.set_history([message.text for message in messages if message.role == "user"])
            self.notice.clear()
            if messages and messages[-1].role == "user" and not live:
                self.notice.say(UNANSWERED)
        self.places.refresh()
        await self._show_earlier()

    async def _show_earlier(self) -> None:
        """Show at each reply how many it has replaced."""
        if self.conversation is None:
            return
        with self.notice.failures():
            revisions = await to_thread(self.client.history.revisions, self.conversation.id)
            self.transcript.show_replaced([each for each in revisions if each.kind is RevisionKind.REPLY])

    def _read(self, id_: str) -> tuple[Conversation, list[Job], list[StoredMessage]]:
        # The queue first: a reply that ends between the two reads is then in both, never in neither.
        jobs = [queued.job for queued in self.client.queue()]
        live = [job for job in jobs if job.kind is JobKind.CHAT and job.subject == id_ and not job.state.ended]
        return self.client.conversations.conversation(id_), live, self.client.conversations.messages(id_)

    @on(Prompt.Scrolled)
    def scrolled(self, message: Prompt.Scrolled) -> None:
        self.transcript.page(message.pages, far=message.far)

    @on(Prompt.Submitted)
    def submitted(self, message: Prompt.Submitted) -> None:
        self.drafts.hold(self.drafts.shown, message.text)
        self.send(message.text, self._opened, self.drafts.shown)

    @on(TextArea.Changed)
    def typed(self) -> None:
        self.drafts.keep(self.drafts.shown)

    @work(group="change")
    async def send(self, text: str, opened: int, draft: str) -> None:
        """Send a text that is held as a `draft`; what fails returns to the prompt."""
        await self.drafts.begun.wait()
        async with self._changing:
            try:
                if self.conversation is None:
                    self.conversation = await to_thread(self._begin, text)
                    self._branch = None
                    if opened == self._opened:
                        self.drafts.move(self.conversation.id)
                job, message = await to_thread(self._ask, self.conversation.id, text)
            except failures() as error:
                self.drafts.give_back(self.drafts.shown if opened == self._opened else draft, text)
                self.drafts.release(draft, text)
                self.notice.fail(error)
                return
            self.drafts.release(draft, text)
            self.notice.clear()
            await self._add_live(UserTurn(message), Reply.live(job))
        self.post_message(self.Changed())

    def _begin(self, text: str) -> Conversation:
        stored, branch = self.client.conversations, self._branch
        if branch is None:
            return stored.new_conversation()
        return stored.branch(branch[0], branch[1].turn_id, one_line(text, TITLE_WIDTH))

    def _ask(self, conversation: str, text: str) -> tuple[Job, StoredMessage]:
        job = self.client.chat(conversation, text)
        sent = [m for m in self.client.conversations.messages(conversation) if m.role == "user" and m.id < job.id]
        return job, sent[-1]

    @work(group="change")
    async def regenerate(self) -> None:
        async with self._changing:
            if self.conversation is None or self.live:
                self.notice.say("A reply is on its way · Esc stops it" if self.live else "Write a message first.")
                return
            with self.notice.failures():
                job = await to_thread(self.client.regenerate, self.conversation.id)
                self.notice.clear()
                turns = self.transcript.turns
                last = max((n for n, turn in enumerate(turns) if isinstance(turn, UserTurn)), default=-1)
                await self.transcript.remove_turns(turns[last + 1 :])
                await self._add_live(Reply.live(job))

    @work(group="stop")
    async def stop(self, reply: Reply) -> None:
        with self.notice.failures():
            await to_thread(self.client.cancel, reply.turn_id)

    @work(group="change")
    async def _unsend(self, reply: Reply) -> None:
        """Remove a message without an answer, and return its text to the prompt."""
        async with self._changing:
            if self.conversation is None or self.transcript.reply(reply.turn_id) is not reply:
                return
            id_, turns = self.conversation.id, self.transcript.turns
            messages = [turn for turn in turns[: turns.index(reply)] if isinstance(turn, UserTurn)][-1:]
            text = messages[0].text if messages else ""
            self.drafts.hold(id_, text)
            with self.notice.failures():
                await self.drafts.writer.write()
                if dropped := await to_thread(self.client.drop_reply, id_):
                    await self.transcript.remove_turns([*messages, reply])
                    self.drafts.give_back(id_, dropped)
            self.drafts.release(id_, text)

    @work(group="change")
    async def _restore_replaced(self, reply: Reply, state: JobState) -> None:
        """Show the replies again that this one should have replaced, if they are still stored."""
        async with self._changing:
            if self.conversation is None or self.transcript.reply(reply.turn_id) is not reply:
                return
            with self.notice.failures():
                messages = await to_thread(self.client.conversations.messages, self.conversation.id)
                replaced = [Reply.of(message) for message in messages if message.id in reply.replaces]
                reply.replaces = []
                if not replaced:
                    return
                await self.transcript.add(*replaced, before=reply)
                # A failed reply stays with its error; a cancelled one without text goes.
                if state is JobState.CANCELLED and not reply.text:
                    await self.transcript.remove_turns([reply])

    @on(UserTurn.Edited)
    @work(group="change")
    async def branch(self, message: UserTurn.Edited) -> None:
        """Show the turns before this one, and its text in the prompt. Nothing is stored until that is sent."""
        if self.conversation is None:
            return
        await self._show(self.conversation.id, message.turn)
        if self._branch is None:
            return
        self.drafts.switch(f"{message.turn.turn_id}@{self._branch[0]}")
        await self.drafts.load(self.drafts.shown)
        if not self.prompt.draft:
            self.prompt.prepend(message.turn.text)
        self.prompt.focus()
        self.notice.say("Sending this begins a new conversation · Esc returns to the present one")

    @work(group="change")
    async def leave_branch(self) -> None:
        """Return to the conversation whose message was being edited, or else close the card of a first start."""
        if self._branch is None:
            self.transcript.first_run.close()
            return
        if self.prompt.whole(self.prompt.draft) == self._branch[1].text:
            self.prompt.replace_text("")
        await self.open(self._branch[0])

    @on(Turn.Copied)
    def copied(self, message: Turn.Copied) -> None:
        self.notice.say(f"Copied {message.characters:,} characters")

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """Copy the address: links written by a model are never opened, so that the user can check them first."""
        self.app.copy_to_clipboard(printable(event.href))
        self.notice.say(f"Copied the address {one_line(event.href, 200)}")

    async def _add_live(self, *turns: Turn) -> None:
        """Add turns at the end, the last one a live reply, and scroll to it."""
        await self.transcript.add(*turns)
        self.transcript.anchor()
        self._follow(turns[-1].turn_id)
        self.places.refresh()

    def _follow(self, job_id: str) -> None:
        self._followers[job_id] = JobFollower(self.client, job_id, self)

    def _stop_following(self) -> list[JobFollower]:
        followers = list(self._followers.values())
        for follower in followers:
            follower.stop()
        self._followers.clear()
        return followers
