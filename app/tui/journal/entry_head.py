"""The line above an entry: when it was written, whether it is saved and indexed, its mood and title."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from app.tui.journal.entry_draft import Draft
from app.tui.journal.entry_list import ENTRY_LOOKS
from core.figures import moment
from core.library.records import TITLE_WIDTH, Entry
from core.text import one_line


class EntryHead(Static):
    def show(self, draft: Draft) -> None:
        entry = draft.entry
        if entry is None:
            self.update(Content.assemble(("New entry", "bold"), " · not saved yet" if draft.dirty else ""))
            return
        symbol, style, word = ENTRY_LOOKS[entry.state]
        state = Content("not saved yet") if draft.dirty else Content.assemble((symbol, style), f" {word}")
        self.update(Content.assemble((moment(entry.created, entry.zone), "bold"), "  ", state, *_described(entry)))


def _described(entry: Entry) -> list[tuple[str, str]]:
    """The mood and title from a model, if there are any."""
    title = one_line(entry.suggested_title, TITLE_WIDTH)
    parts = [one_line(entry.mood, TITLE_WIDTH), f"“{title}”" if title else ""]
    return [(f" · {part}", "dim") for part in parts if part]
