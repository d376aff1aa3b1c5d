"""The journal entries by day, each with the state of its indexing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static
from textual.widgets.option_list import Option

from app.tui.library.listing import Listing
from core.figures import day
from core.library.records import Entry, EntryState
from core.text import cells, contains, fold, one_line, printable

WIDTH = 60
MOOD_WIDTH = 12
SHORTEST_TITLE = 16
"""Cells of a title that are shown if there is also a mood."""
OTHER_CELLS = 5
"""Cells of a line beside title and mood: the padding, the symbol and its space, the scrollbar."""
NOT_FOUND = "No entry contains this text.\nEnter searches by words and meaning."
LINES_AHEAD = 50
"""Distance from the end of the list at which older entries are read."""
KEPT_CHARACTERS = 1_000
"""Characters of an entry that the list keeps; it never shows more."""
INVITATION = "No entries yet.\n\nWrite on the right. Your text is saved as you type, and you can search it by meaning."
ENTRY_LOOKS: dict[EntryState, tuple[str, str, str]] = {
    EntryState.SAVED: ("·", "dim", "saved"),
    EntryState.INDEXING: ("◐", "$text-warning", "indexing"),
    EntryState.INDEXED: ("●", "$text-success", "indexed"),
    EntryState.FAILED: ("!", "bold $text-error", "not indexed"),
    EntryState.SKIPPED: ("×", "dim", "skipped: not searchable"),
}
"""Symbol, style and word of each state."""


def _short(entry: Entry) -> Entry:
    return replace(entry, text=entry.text[:KEPT_CHARACTERS])


class EntryList(Listing):
    """Posts the user's choices to the screen, which carries them out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # A priority key runs before a widget gets the next key, so that text typed after it goes to the editor.
        Binding("n", "screen.new", "New", id="entries.new", priority=True, tooltip="Start a new entry"),
        Binding("d,delete", "ask('delete')", "Delete", id="entries.delete", tooltip="Delete the entry"),
        Binding("u", "screen.undo_delete", "Undo", id="entries.undo", tooltip="Bring back the last deleted entry"),
        Binding("h", "ask('history')", "History", id="entries.history", tooltip="Show earlier texts of the entry"),
        Binding("t", "app.trash", "Trash", id="entries.trash", tooltip="Show what was deleted"),
        Binding("m", "ask('mood')", "Mood", id="entries.mood", tooltip="Set the mood of the entry"),
        Binding("r", "ask('retry')", "Retry", id="entries.retry", tooltip="Index the entry again"),
        Binding("x", "ask('skip')", "Skip", id="entries.drop", tooltip="Skip an entry that failed"),
    ]

    @dataclass
    class EndReached(Message):
        """The user has scrolled near the end of the list, and older entries exist."""

    @dataclass
    class Asked(Message):
        """The user asks for `what` (delete, history, mood, retry, skip) with the highlighted entry."""

        what: str
        entry: Entry

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._entries: dict[str, Entry] = {}
        self._more = False
        self._width = 0
        self.sought = ""
        """The text that all shown entries contain."""
        self._open: str | None = None
        self.changes = 0
        """Counts entries that were put or removed, so that a slow reading of the whole list does not undo that."""
        self.none = Static(classes="none")

    def compose(self) -> ComposeResult:
        yield self.options
        yield self.none

    def on_mount(self) -> None:
        self._fill()
        self.watch(self.options, "scroll_y", self._scrolled, init=False)

    def on_resize(self, event: events.Resize) -> None:
        if event.size.width != self._width:
            self._width = event.size.width
            self._fill()

    def _scrolled(self, at: float) -> None:
        if self._more and at >= self.options.max_scroll_y - LINES_AHEAD:
            self.post_message(self.EndReached())

    @property
    def entries(self) -> list[Entry]:
        """The newest first."""
        return sorted(self._entries.values(), key=lambda entry: entry.created, reverse=True)

    @property
    def highlighted(self) -> Entry | None:
        option = self.options.highlighted_option
        return self._entries.get(option.id) if option is not None and option.id else None

    def show(self, entries: Iterable[Entry], *, more: bool = False) -> None:
        """Show the newest entries; `more` tells whether older ones exist."""
        self._entries = {entry.id: _short(entry) for entry in entries}
        self._more = more
        self._fill()

    def add(self, entries: Iterable[Entry], *, more: bool) -> None:
        """Add older entries."""
        new = [entry for entry in map(_short, entries) if entry.id not in self._entries]
        last = day(self.entries[-1].created) if self._entries else ""
        self._entries |= {entry.id: entry for entry in new}
        self._more = more
        self.options.add_options(self._listed(new, last))

    def put(self, entry: Entry) -> None:
        """Add an entry or update it."""
        old = self._entries.get(entry.id)
        if old is not None and old.revision > entry.revision:
            return
        if old is None and not self._belongs(entry):
            return
        self._entries[entry.id] = _short(entry)
        self.changes += 1
        options = self.options
        if old is not None and any(option.id == entry.id for option in options.options):
            options.replace_option_prompt(entry.id, self._label(entry))
        else:
            self._fill()

    def remove_entry(self, id_: str) -> bool:
        """Returns whether it was shown."""
        shown = self._entries.pop(id_, None) is not None
        self.changes += 1
        if shown:
            self._fill()
        return shown

    def highlight(self, id_: str) -> None:
        self._fill(highlight=id_)

    def mark_open(self, id_: str | None) -> None:
        self._open = id_
        self._fill(highlight=id_)

    def narrow(self, text: str) -> None:
        """Restrict the list to entries that contain `text`, without regard to case and accents."""
        self.sought = text.strip()

    def action_ask(self, what: str) -> None:
        if (entry := self.highlighted) is not None:
            self.post_message(self.Asked(what, entry))

    def _belongs(self, entry: Entry) -> bool:
        """Whether a new entry is shown: not if it is as old as those that have not been read yet."""
        oldest = min((each.created for each in self._entries.values()), default=0.0)
        return contains(entry.text, fold(self.sought)) and not (self._more and entry.created < oldest)

    def _listed(self, entries: Iterable[Entry], last_day: str = "") -> list[Option]:
        listed = []
        for entry in entries:
            if (today := day(entry.created)) != last_day:
                last_day = today
                listed.append(Option(Content.styled(today, "bold"), disabled=True))
            listed.append(Option(self._label(entry), entry.id))
        return listed

    def _fill(self, highlight: str | None = None) -> None:
        shown = self._listed(self.entries)
        self.refill(shown, self._open, highlight)
        self.none.display = not shown
        self.none.update(Content(NOT_FOUND if self.sought else INVITATION))

    def _fitting(self, title: str, mood: str) -> tuple[str, str]:
        """Both if there is room, with the title cut a little; else the title alone."""
        room = max(self._width - OTHER_CELLS, SHORTEST_TITLE)
        beside = room - cells(mood) - 1
        if not mood or beside < min(SHORTEST_TITLE, cells(title)):
            return one_line(title, room), ""
        return one_line(title, beside), mood

    def _label(self, entry: Entry) -> Content:
        symbol, style, _ = ENTRY_LOOKS[entry.state]
        title, mood = self._fitting(one_line(entry.title, WIDTH), one_line(entry.mood, MOOD_WIDTH))
        label = Content.assemble((symbol, style), "\u00a0", (title, "bold") if entry.id == self._open else title)
        if mood:
            label = Content.assemble(label, " ", (mood, "dim"))
        if entry.state is not EntryState.FAILED:
            return label
        why = one_line(printable(entry.error), WIDTH) or "Indexing failed."
        return Content.assemble(label, "\n\u00a0\u00a0", (why, "$text-error"))
