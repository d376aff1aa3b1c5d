"""What a search by meaning found: first the nearest, then in the order that the reranker gives them."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from app.widgets.figures import bar
from app.widgets.job_line import JobLine
from core.text import one_line, printable
from tasks.jobs import Ended, Hit, Hits, Job, JobState

CELLS = 8
CHUNK_WIDTH = 240


def hit_label(hit: Hit) -> Content:
    """A score bar, the title, and the chunk that matched."""
    score = hit.similarity if hit.relevance is None else hit.relevance
    full, rest = bar(score, CELLS)
    chunk = one_line(" ".join(printable(hit.chunk).split()), CHUNK_WIDTH)
    return Content.assemble(
        (full, "$accent"), (rest, "$text-disabled"), f" {score:.2f}  ", (one_line(hit.title, 60), "bold"),
        "\n", (chunk, "$text-muted"),
    )  # fmt: skip


class SearchResults(Vertical):
    @dataclass
    class Opened(Message):
        entry: str

    def compose(self) -> ComposeResult:
        yield Static(classes="heading")
        yield Static(classes="foot")
        yield OptionList(compact=True)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._query = ""

    async def begin(self, query: str, job: Job) -> None:
        """Wait for what `job` finds."""
        self._query = one_line(query, 60)
        self._head(f"Searching for “{self._query}”")
        self.query_one(".foot", Static).display = False
        self.query_one(OptionList).clear_options()
        await self.query(JobLine).remove()
        await self.mount(JobLine(job.id, job.state), after=0)

    def show(self, hits: Hits) -> None:
        options = self.query_one(OptionList)
        before = options.highlighted_option.id if options.highlighted_option else None
        options.set_options([Option(hit_label(hit), hit.entry) for hit in _best(hits)])
        order = "by relevance" if hits.reranked else "by nearness, being compared"
        self._head(f"“{self._query}” · {options.option_count} found · {order}")
        ids = [option.id for option in options.options]
        if options.option_count:
            options.highlighted = ids.index(before) if before in ids else 0

    async def finish(self, ended: Ended) -> None:
        await self.query(JobLine).remove()
        options = self.query_one(OptionList)
        foot = self.query_one(".foot", Static)
        match ended.state:
            case JobState.DONE if options.option_count:
                said = printable(str((ended.result or {}).get("note") or ""))
            case JobState.DONE:
                self._head(f"“{self._query}”")
                said = "Nothing is near to that. Entries can be found once they are marked ●."
            case JobState.CANCELLED:
                said = "Stopped."
            case _:
                said = f"{printable(ended.error)} {printable(ended.hint)} Enter in the field tries again.".strip()
        foot.set_class(ended.state in {JobState.FAILED, JobState.INTERRUPTED}, "-failed")
        foot.display = bool(said)
        foot.update(Content(said))

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Opened(event.option_id))

    def _head(self, text: str) -> None:
        self.query_one(".heading", Static).update(Content(text))


def _best(hits: Hits) -> list[Hit]:
    """The first hit of each entry, in the order given."""
    best: dict[str, Hit] = {}
    for hit in hits.hits:
        best.setdefault(hit.entry, hit)
    return list(best.values())
