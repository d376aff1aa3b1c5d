"""The results of a search: first by words, then by words and meaning, then in the order of a reranker."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from app.tui.library.listing import Listing
from app.tui.shared.job_line import JobLine
from core.events.types import JobState
from core.figures import bar
from core.text import one_line, printable
from tasks.jobs.records import Ended, Hit, Hits, Job

CELLS = 8
TITLE_WIDTH = 40
BESIDE = 80
"""Characters shown before and after the marked sentence."""
NOTHING_NEAR = "Not in your entries, as it seems; these are the nearest."


def hit_label(hit: Hit) -> Content:
    """A score bar, the title, and the passage with the sentence that matches best."""
    start, end = hit.mark
    before, marked, after = (
        " ".join(printable(part).split()) for part in (hit.chunk[:start], hit.chunk[start:end], hit.chunk[end:])
    )
    before = before if len(before) <= BESIDE else f"…{before[-BESIDE:].partition(' ')[2]}"
    score = hit.similarity if hit.relevance is None else hit.relevance
    full, rest = bar(score, CELLS)
    passage = Content(" ").join(
        [
            Content.styled(part, style)
            for part, style in ((before, "dim"), (marked, "$text-accent"), (one_line(after, BESIDE), "dim"))
            if part
        ]
    )
    title = one_line(hit.title, TITLE_WIDTH)
    head = Content.assemble((full, "$accent"), (rest, "$text-disabled"), f" {score:.2f}  ", (title, "bold"), "\n")
    return head + passage


class SearchResults(Listing):
    def compose(self) -> ComposeResult:
        yield self.heading
        yield self.foot
        yield self.options

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._query = ""
        self.heading = Static(classes="heading")
        self.foot = Static(classes="foot")

    async def begin(self, query: str, job: Job) -> None:
        """Wait for the results of `job`."""
        self._query = one_line(query, 60)
        self._head(f"Searching for “{self._query}”")
        self.foot.display = False
        self.options.clear_options()
        await self.query(JobLine).remove()
        await self.mount(JobLine(job.id, job.state), after=0)

    def show(self, hits: Hits) -> None:
        options = self.options
        # A result that the user moved to stays highlighted; otherwise the best one is.
        before = options.highlighted_option.id if options.highlighted_option and options.highlighted else None
        options.set_options([Option(hit_label(hit), hit.entry) for hit in _best(hits)])
        by_meaning = any(hit.similarity for hit in hits.hits)
        order = "reranked" if hits.reranked else "by words and meaning" if by_meaning else "by words"
        self._head(f"“{self._query}” · {options.option_count} found · {order}")
        ids = [option.id for option in options.options]
        if options.option_count:
            options.highlighted = ids.index(before) if before in ids else 0

    async def finish(self, ended: Ended) -> None:
        await self.query(JobLine).remove()
        options = self.options
        foot = self.foot
        match ended.state:
            case JobState.DONE if options.option_count:
                result = ended.result or {}
                text = printable(str(result.get("note") or ""))
                if result.get("nothing_near"):
                    text = f"{NOTHING_NEAR} {text}"
            case JobState.DONE:
                self._head(f"“{self._query}”")
                text = "No entry was found."
            case JobState.CANCELLED:
                text = "Stopped."
            case _:
                text = f"{printable(ended.error)} {printable(ended.hint)} Enter in the field tries again.".strip()
        foot.set_class(ended.state in {JobState.FAILED, JobState.INTERRUPTED}, "-failed")
        foot.display = bool(text)
        foot.update(Content(text))

    def _head(self, text: str) -> None:
        self.heading.update(Content(text))


def _best(hits: Hits) -> list[Hit]:
    """The first hit of each entry, in the order given."""
    best: dict[str, Hit] = {}
    for hit in hits.hits:
        best.setdefault(hit.entry, hit)
    return list(best.values())
