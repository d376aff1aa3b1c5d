"""A reply: first where it is, then its text as it comes, at last the whole of it with its numbers."""

from __future__ import annotations

import time
from typing import Any

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from app.output import counted
from app.widgets.job_line import JobLine, rate
from app.widgets.turn import Turn, moment
from app.widgets.words import Words
from core.library import MessageState, StoredMessage
from core.text import printable
from tasks.jobs import Ended, Job, JobState

AGAIN = "^R asks again"
_STATES = {
    JobState.DONE: MessageState.COMPLETE,
    JobState.CANCELLED: MessageState.CANCELLED,
    JobState.INTERRUPTED: MessageState.INTERRUPTED,
    JobState.FAILED: MessageState.FAILED,
}


def numbers(stats: dict[str, Any]) -> str:
    """`48 tokens · 41 tok/s · first 38 ms · 212 reused`, as far as it was measured."""
    parts = []
    if "completion_tokens" in stats:
        parts.append(counted(stats["completion_tokens"], "token"))
    if stats.get("tokens_per_second"):
        parts.append(rate(stats["tokens_per_second"]))
    if stats.get("ttft_ms") is not None:
        first = stats["ttft_ms"]
        parts.append(f"first {first:,.0f} ms" if first < 10_000 else f"first {first / 1000:,.1f} s")
    if stats.get("reused_tokens"):
        parts.append(f"{stats['reused_tokens']:,} reused")
    if stats.get("finish_reason") == "length":
        parts.append("cut at the token limit")
    return " · ".join(parts)


def outside(stats: dict[str, Any]) -> str:
    """What of the conversation the model was not given, in one line; empty for nothing."""
    parts = []
    if left_out := stats.get("left_out"):
        turns = "turn is" if left_out == 1 else "turns are"
        parts.append(f"{left_out:,} earlier {turns} outside the context")
    if stats.get("truncated"):
        parts.append("the message was longer than the context: only its end was read")
    return " · ".join(parts)


class Reply(Turn):
    """A reply that is stored (`of`), or one that is being made (`live`)."""

    def __init__(self, id_: str, remark: str = "", text: str = "") -> None:
        super().__init__(id_, "Charlie", remark)
        self.add_class("-reply")
        self.text = text
        self.job: Job | None = None
        self.again = False
        """Whether it was asked for again, so that there is no typed text to give back."""
        self.replaces: list[str] = []
        """The replies that are not shown while this one is being made; they are stored until it is."""
        self._stored: StoredMessage | None = None
        self.left_out = Static(classes="left-out")
        self.words = Words(printable(text))
        self.foot = Static(classes="foot")

    @classmethod
    def of(cls, message: StoredMessage) -> Reply:
        reply = cls(message.id, moment(message.at), message.text)
        reply._stored = message
        return reply

    @classmethod
    def live(cls, job: Job) -> Reply:
        reply = cls(job.id)
        reply.job = job
        reply.again = "replaces" in job.args
        reply.replaces = job.args.get("replaces", [])
        return reply

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.left_out
        yield self.words
        if self.job is not None:
            yield JobLine(self.job.id, self.job.state)
        yield self.foot

    def on_mount(self) -> None:
        if self._stored is not None:
            stats = self._stored.stats or {}
            self._close(self._stored.state, stats, str(stats.get("error", "")), str(stats.get("hint", "")))

    async def write(self, text: str) -> None:
        """The next piece of the reply."""
        self.text += text
        await self.words.write(printable(text))

    async def finish(self, ended: Ended) -> None:
        """The reply has ended; what has come of it stays."""
        result = ended.result or {}
        self.text = str(result.get("text", "")) or self.text
        await self.query(JobLine).remove()
        await self.words.update(printable(self.text))
        self.header.remark = moment(time.time())
        self._close(_STATES[ended.state], result, ended.error, ended.hint)
        self.job = None

    def _close(self, state: MessageState, stats: dict[str, Any], error: str, hint: str) -> None:
        if stats.get("starter"):
            self.header.remark = f"starter model · {self.header.remark}"
        self.header.refresh()
        if said := outside(stats):
            self.left_out.update(Content(said))
            self.add_class("-left-out")
        self.set_class(state is MessageState.FAILED, "-failed")
        self.add_class("-closed")
        match state:
            case MessageState.COMPLETE:
                self.foot.update(Content(numbers(stats)))
            case MessageState.CANCELLED:
                said = numbers(stats) if self.text else "nothing had been said"
                self.foot.update(Content(" · ".join(part for part in ("stopped", said, AGAIN) if part)))
            case MessageState.INTERRUPTED:
                self.foot.update(Content(f"interrupted: {printable(error) or 'the worker ended'} · {AGAIN}"))
            case MessageState.FAILED:
                why = f"{printable(error) or 'This could not be answered.'} {printable(hint)}".strip()
                self.foot.update(Content(f"{why} · {AGAIN}"))
