"""An answer from the journal, and the entries that it cites."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, ClassVar

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Markdown, OptionList, Static
from textual.widgets.option_list import Option

from app.tui.library.listing import Opened
from app.tui.shared.as_written import AsWritten
from app.tui.shared.job_line import JobLine
from app.tui.shared.reply_numbers import numbers
from app.tui.shared.streamed_markdown import StreamedMarkdown
from core.events.types import JobState
from core.programs.citations import CITATION
from core.text import one_line, printable
from tasks.jobs.records import Ended, Hits, Job, citations

TITLE_WIDTH, SHORT_TITLE = 60, 28
NEAREST = "Only the nearest passages:"
SMALL = "a small model answered; the passages above are what it read"
LINES = 2
"""Of a passage, so that five of them and an answer are seen at once."""


def citing(known: Container[int]) -> MarkdownIt:
    """A parser that makes each citation with a known number a link to `entry:NUMBER`, but not in code."""

    def cite(state: StateInline, silent: bool) -> bool:
        match = CITATION.match(state.src, state.pos)
        if match is None or not any(int(number) in known for number in re.findall(r"\d+", match[0])):
            return False
        for part in [] if silent else re.split(r"(\d+)", match[0]):
            linked = part.isdecimal() and int(part) in known
            if linked:
                state.push("link_open", "a", 1).attrs["href"] = f"entry:{int(part)}"
            state.push("text", "", 0).content = part
            if linked:
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

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.text = ""
        self._retry_hint = ""
        self._entries: dict[int, str] = {}
        self.body = Vertical(classes="body")
        self.heading = Static(classes="heading")
        self.nearest = Static(Content(NEAREST), classes="foot")
        self.markdown = StreamedMarkdown(parser_factory=lambda: citing(self._entries))
        self.foot = Static(classes="foot")
        self.options = OptionList(compact=True)

    def compose(self) -> ComposeResult:
        # At least as high as the view: anchoring would move a smaller body out of its place.
        with self.body:
            yield self.heading
            yield self.nearest
            yield self.options
            yield self.markdown
            yield self.foot

    def on_mount(self) -> None:
        self.anchor()

    async def begin(self, question: str, job: Job, retry_hint: str) -> None:
        """Wait for the answer of `job`; after a failure, `retry_hint` says how to ask again."""
        self.text = ""
        self._retry_hint = retry_hint
        self._entries = {}
        self.heading.update(Content(one_line(question, 200)))
        self.foot.display = self.nearest.display = self.options.display = False
        self.options.clear_options()
        self.body.move_child(self.markdown, before=self.foot)
        await self.query(JobLine).remove()
        await self.markdown.update("")
        await self.body.mount(JobLine(job.id, job.state), after=self.markdown)
        self.anchor()

    def found(self, hits: Hits) -> None:
        """Show the passages before the model has read them."""
        self._list(citations(hits.hits))

    def _list(self, found: list[dict[str, Any]]) -> None:
        self._entries = {int(citation["number"]): str(citation["entry"]) for citation in found}
        width = LINES * max(30, self.size.width - 6) - len("[1] ")
        options, before = self.options, self.options.highlighted or 0
        options.set_options([Option(_label(citation, width), str(citation["number"])) for citation in found])
        options.display = bool(found)
        if found:
            options.highlighted = min(before, len(found) - 1)

    async def write(self, text: str) -> None:
        self.text += text
        await self.markdown.write(text)

    async def finish(self, ended: Ended) -> None:
        result = ended.result or {}
        self.text = str(result.get("text", "")) or self.text
        if found := result.get("citations"):
            self._list(found)
        await self.query(JobLine).remove()
        await self.markdown.update(self.text)
        self._close(ended, result)
        if result.get("nothing_near"):
            self.nearest.display = bool(found)
            self.body.move_child(self.markdown, after=self.heading)
            self.anchor(False)
            self.scroll_home(animate=False)
        if self.options.display and self.has_focus:
            self.options.focus(scroll_visible=False)

    def _close(self, ended: Ended, result: dict[str, Any]) -> None:
        foot = self.foot
        match ended.state:
            case JobState.DONE:
                weak = SMALL if result.get("bundled") else ""
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
            self.post_message(Opened(entry, self))

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


def _label(citation: dict[str, Any], width: int) -> Content:
    """The number, the title and the passage, with the sentence that matched; the number is dim if it is not cited."""
    number = (f"[{citation['number']}]", "bold $accent" if citation.get("cited") else "dim")
    title = one_line(str(citation["title"]), TITLE_WIDTH)
    if not (passage := str(citation.get("chunk", ""))):
        return Content.assemble(number, " ", title)
    start, end = citation["mark"]
    # Most titles are the entry's first words, which need not be there twice.
    head = "" if start == 0 and passage.startswith(title[:-1]) else f"{one_line(title, SHORT_TITLE)} · "
    sentence = _flat(passage[start:end], width - len(head))
    after = _flat(passage[end:], width - len(head) - len(sentence) - 1)
    return Content.assemble(number, " ", (head, "bold"), (sentence, "$text-accent"), (f" {after}".rstrip(), "dim"))


def _flat(text: str, width: int) -> str:
    return one_line(" ".join(printable(text).split()), width) if width > 1 else ""
