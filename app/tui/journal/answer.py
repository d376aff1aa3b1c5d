"""An answer from the journal, and the entries that it cites."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, ClassVar

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Markdown, OptionList, Static
from textual.widgets.option_list import Option

from app.tui.shared.as_written import AsWritten
from app.tui.shared.job_line import JobLine
from app.tui.shared.reply_numbers import numbers
from app.tui.shared.streamed_markdown import StreamedMarkdown
from core.events.types import JobState
from core.text import one_line, printable
from tasks.jobs.records import Ended, Hits, Job

_CITATION = re.compile(r"\[(\d{1,4})\](?!\()")


def citing(known: Container[int]) -> MarkdownIt:
    """A parser that makes each citation with a known number a link to `entry:NUMBER`, but not in code."""

    def cite(state: StateInline, silent: bool) -> bool:
        match = _CITATION.match(state.src, state.pos)
        if match is None or int(match[1]) not in known:
            return False
        if not silent:
            state.push("link_open", "a", 1).attrs["href"] = f"entry:{int(match[1])}"
            state.push("text", "", 0).content = match[0]
            state.push("link_close", "a", -1)
        state.pos = match.end()
        return True

    parser = AsWritten()
    parser.inline.ruler.before("link", "citation", cite)
    return parser


class Answer(VerticalScroll, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(
                str(number), f"cited({number})", "Open cited", show=False, id=f"answer.cited.{number}",
                tooltip="Open the cited entry with this number",
            )
            for number in range(1, 10)
        ),
        Binding("y,c", "copy", "Copy", id="answer.copy", tooltip="Copy the answer"),
    ]  # fmt: skip

    @dataclass
    class Opened(Message):
        entry: str

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.text = ""
        self._retry_hint = ""
        self._entries: dict[int, str] = {}
        self.body = Vertical(classes="body")
        self.heading = Static(classes="heading")
        self.markdown = StreamedMarkdown(parser_factory=lambda: citing(self._entries))
        self.foot = Static(classes="foot")
        self.options = OptionList(compact=True)

    def compose(self) -> ComposeResult:
        # At least as high as the view: anchoring would move a smaller body out of its place.
        with self.body:
            yield self.heading
            yield self.markdown
            yield self.foot
            yield self.options

    def on_mount(self) -> None:
        self.anchor()

    async def begin(self, question: str, job: Job, retry_hint: str) -> None:
        """Wait for the answer of `job`; after a failure, `retry_hint` says how to ask again."""
        self.text = ""
        self._retry_hint = retry_hint
        self._entries = {}
        self.heading.update(Content(one_line(question, 200)))
        self.foot.display = False
        self.options.display = False
        self.options.clear_options()
        await self.query(JobLine).remove()
        await self.markdown.update("")
        await self.body.mount(JobLine(job.id, job.state), after=self.markdown)
        self.anchor()

    def found(self, hits: Hits) -> None:
        """Show the number of entries from which the answer is generated."""
        count = len({hit.entry for hit in hits.hits})
        foot = self.foot
        foot.remove_class("-failed")
        foot.display = True
        foot.update(Content(f"from {count} {'entry' if count == 1 else 'entries'}"))

    async def write(self, text: str) -> None:
        self.text += text
        await self.markdown.write(text)

    async def finish(self, ended: Ended) -> None:
        result = ended.result or {}
        self.text = str(result.get("text", "")) or self.text
        citations: list[dict[str, Any]] = result.get("citations", [])
        self._entries = {int(citation["number"]): str(citation["entry"]) for citation in citations}
        await self.query(JobLine).remove()
        await self.markdown.update(self.text)
        self._close(ended, result)
        options = self.options
        options.set_options([Option(_label(citation), str(citation["number"])) for citation in citations])
        options.display = bool(citations)
        if citations:
            options.highlighted = 0
            if self.has_focus:
                options.focus(scroll_visible=False)

    def _close(self, ended: Ended, result: dict[str, Any]) -> None:
        foot = self.foot
        match ended.state:
            case JobState.DONE:
                weak = "a small, weak model" if result.get("bundled") else ""
                optimizer = f"program by {result['optimizer']}" if result.get("optimizer") else ""
                parts = [weak, optimizer, numbers(result), printable(str(result.get("note") or ""))]
                line = " · ".join(part for part in parts if part)
            case JobState.CANCELLED:
                line = "stopped"
            case _:
                line = f"{printable(ended.error)} {printable(ended.hint)} {self._retry_hint}".strip()
        foot.set_class(ended.state in {JobState.FAILED, JobState.INTERRUPTED}, "-failed")
        foot.display = bool(line)
        foot.update(Content(line))

    def action_cited(self, number: int) -> None:
        if entry := self._entries.get(number):
            self.post_message(self.Opened(entry))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(printable(self.text))

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_cited(int(event.option_id or 0))

    @on(Markdown.LinkClicked)
    def link(self, event: Markdown.LinkClicked) -> None:
        """Open citations only; no other address from a model is opened."""
        event.stop()
        if event.href.startswith("entry:"):
            self.action_cited(int(event.href.removeprefix("entry:")))


def _label(citation: dict[str, Any]) -> Content:
    title = one_line(str(citation["title"]), 80)
    if not citation.get("cited", True):
        return Content.styled(f"[{citation['number']}] {title}", "dim")
    return Content.assemble((f"[{citation['number']}]", "bold $accent"), " ", title)
