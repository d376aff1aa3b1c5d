"""A reply: first the state of its job, then its streamed text, at the end the whole text with its numbers.

What the model thought before stands above it, folded.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from app.tui.chat.thought import FoldedThought
from app.tui.chat.turn import Turn
from app.tui.host import host
from app.tui.shared.job_line import JobLine
from app.tui.shared.reply_numbers import numbers, prompt_notes
from core.events.types import JobState
from core.figures import moment
from core.library.records import MessageState, StoredMessage
from core.text import printable
from tasks.jobs.records import Ended, Job, Text, Thought

AGAIN = "^R asks again"
_STATES = {
    JobState.DONE: MessageState.COMPLETE,
    JobState.CANCELLED: MessageState.CANCELLED,
    JobState.INTERRUPTED: MessageState.INTERRUPTED,
    JobState.FAILED: MessageState.FAILED,
}


class Reply(Turn):
    """A stored reply (`of`), or one whose job waits or runs (`live`)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h", "screen.history", "History", id="turn.history", tooltip="Show earlier titles and replies"),
        Binding("t", "thought", "Thought", id="turn.thought", tooltip="Show or hide the thought before this reply"),
    ]

    def __init__(self, id_: str, remark: str = "", text: str = "", thought: str = "") -> None:
        from app.tui.shared.streamed_markdown import StreamedMarkdown  # an empty chat does not wait for it

        super().__init__(id_, "Charlie", remark)
        self.add_class("-reply")
        self.text = text
        self.job: Job | None = None
        self.regenerated = False
        """Whether it was asked for again: then cancelling it returns no message to the prompt."""
        self.replaces: list[str] = []
        """Ids of the replies that this one replaces; they stay stored until it is complete."""
        self._stored: StoredMessage | None = None
        self._replaced = 0
        self.left_out = Static(classes="left-out")
        self.thought = FoldedThought(thought)
        self.markdown = StreamedMarkdown(text)
        self.foot = Static(classes="foot")
        self.support = Static(classes="support")
        self.earlier = Static(classes="earlier")

    @classmethod
    def of(cls, message: StoredMessage) -> Reply:
        reply = cls(message.id, moment(message.at), message.text, message.reasoning)
        reply._stored = message
        return reply

    @classmethod
    def live(cls, job: Job) -> Reply:
        reply = cls(job.id)
        reply.job = job
        reply.regenerated = "replaces" in job.args
        reply.replaces = job.args.get("replaces", [])
        return reply

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.left_out
        yield self.thought
        yield self.markdown
        if self.job is not None:
            yield JobLine(self.job.id, self.job.state)
        yield self.foot
        yield self.support
        yield self.earlier

    def on_mount(self) -> None:
        if self._stored is not None:
            stats = self._stored.stats or {}
            self._close(self._stored.state, stats, str(stats.get("error", "")), str(stats.get("hint", "")))

    def show_earlier(self, count: int) -> None:
        """Show the number of replies that this one has replaced."""
        if count == self._replaced:  # each change lays out all turns anew
            return
        self._replaced = count
        self.set_class(count > 0, "-again")
        self.earlier.update(Content(f"{count} earlier {'reply' if count == 1 else 'replies'} · h shows them"))

    def show_support(self) -> None:
        """Show where somebody in distress can turn."""
        self.support.update(Content(host(self).client.settings.support.line))
        self.add_class("-support")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  # Textual's
        return action != "thought" or self.thought.display

    async def action_thought(self) -> None:
        await self.thought.toggle()

    async def write(self, piece: Text | Thought) -> None:
        """Append to the text, or to the thought before it."""
        if isinstance(piece, Thought):
            self.thought.write(piece.text)
            return
        if not self.text:
            self.thought.end({})
        self.text += piece.text
        await self.markdown.write(piece.text)

    async def finish(self, ended: Ended) -> None:
        """Show the end of the job; the text so far stays."""
        result = ended.result or {}
        self.text = str(result.get("text", "")) or self.text
        self.thought.text = str(result.get("reasoning", "")) or self.thought.text
        await self.query(JobLine).remove()
        await self.markdown.update(self.text)
        self.header.remark = moment(time.time())
        self._close(_STATES[ended.state], result, ended.error, ended.hint)
        self.job = None

    def _close(self, state: MessageState, stats: dict[str, Any], error: str, hint: str) -> None:
        self.header.refresh()
        self.thought.end(stats)
        if notes := prompt_notes(stats):
            self.left_out.update(Content(notes))
            self.add_class("-left-out")
        if stats.get("distress"):
            self.show_support()
        self.set_class(state is MessageState.FAILED, "-failed")
        self.add_class("-closed")
        match state:
            case MessageState.COMPLETE:
                self.foot.update(Content(numbers(stats)))
            case MessageState.CANCELLED:
                so_far = numbers(stats) if self.text else "no text yet"
                self.foot.update(Content(" · ".join(part for part in ("stopped", so_far, AGAIN) if part)))
            case MessageState.INTERRUPTED:
                self.foot.update(Content(f"interrupted: {printable(error) or 'the worker ended'} · {AGAIN}"))
            case MessageState.FAILED:
                why = f"{printable(error) or 'This could not be answered.'} {printable(hint)}".strip()
                self.foot.update(Content(f"{why} · {AGAIN}"))
