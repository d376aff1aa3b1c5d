"""An answer from the journal, and the entries that it cites."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Markdown, OptionList, Static
from textual.widgets.option_list import Option

from app.widgets.job_line import JobLine
from app.widgets.reply import numbers
from app.widgets.words import Words
from core.text import one_line, printable
from tasks.jobs import Ended, Hits, Job, JobState

_CITATION = re.compile(r"\[(\d+)\](?!\()")


def linked(text: str, known: set[int]) -> str:
    """Markdown in which each citation of a known number is a link to `entry:NUMBER`."""

    def link(match: re.Match[str]) -> str:
        number = int(match[1])
        return f"[\\[{number}\\]](entry:{number})" if number in known else match[0]

    return _CITATION.sub(link, text)


class Answer(VerticalScroll, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(
                str(number), f"cited({number})", "Open cited", show=False, id=f"answer.cited.{number}",
                tooltip="Open the cited entry with that number",
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
        self._again = ""
        self._entries: dict[int, str] = {}
        self.paper = Vertical(classes="paper")
        self.heading = Static(classes="heading")
        self.words = Words()
        self.foot = Static(classes="foot")
        self.options = OptionList(compact=True)

    def compose(self) -> ComposeResult:
        # At least as high as the view: an anchored widget would push less than that out of its place.
        with self.paper:
            yield self.heading
            yield self.words
            yield self.foot
            yield self.options

    def on_mount(self) -> None:
        self.anchor()

    async def begin(self, question: str, job: Job, again: str) -> None:
        """Wait for the answer of `job`; `again` says how a failed one is asked for once more."""
        self.text = ""
        self._again = again
        self._entries = {}
        self.heading.update(Content(one_line(question, 200)))
        self.foot.display = False
        self.options.display = False
        self.options.clear_options()
        await self.query(JobLine).remove()
        await self.words.update("")
        await self.paper.mount(JobLine(job.id, job.state), after=self.words)
        self.anchor()

    def found(self, hits: Hits) -> None:
        """The entries that the answer will be made from."""
        count = len({hit.entry for hit in hits.hits})
        foot = self.foot
        foot.remove_class("-failed")
        foot.display = True
        foot.update(Content(f"from {count} {'entry' if count == 1 else 'entries'}"))

    async def write(self, text: str) -> None:
        self.text += text
        await self.words.write(printable(text))

    async def finish(self, ended: Ended) -> None:
        result = ended.result or {}
        self.text = str(result.get("text", "")) or self.text
        citations: list[dict[str, Any]] = result.get("citations", [])
        self._entries = {int(citation["number"]): str(citation["entry"]) for citation in citations}
        await self.query(JobLine).remove()
        await self.words.update(linked(printable(self.text), set(self._entries)))
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
                starter = "starter model" if result.get("starter") else ""
                optimizer = f"program by {result['optimizer']}" if result.get("optimizer") else ""
                parts = [starter, optimizer, numbers(result), printable(str(result.get("note") or ""))]
                said = " · ".join(part for part in parts if part)
            case JobState.CANCELLED:
                said = "stopped"
            case _:
                said = f"{printable(ended.error)} {printable(ended.hint)} {self._again}".strip()
        foot.set_class(ended.state in {JobState.FAILED, JobState.INTERRUPTED}, "-failed")
        foot.display = bool(said)
        foot.update(Content(said))

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
        """Only citations lead anywhere: what a model wrote is never opened."""
        event.stop()
        if event.href.startswith("entry:"):
            self.action_cited(int(event.href.removeprefix("entry:")))


def _label(citation: dict[str, Any]) -> Content:
    title = one_line(str(citation["title"]), 80)
    if not citation.get("cited", True):
        return Content.styled(f"[{citation['number']}] {title}", "dim")
    return Content.assemble((f"[{citation['number']}]", "bold $accent"), " ", title)
