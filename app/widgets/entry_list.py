"""The journal entries by day, each with how far its ingestion is."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from core.library import Entry, EntryState
from core.text import one_line, printable

WIDTH = 60
MOOD_WIDTH = 12
LEAST_TITLE = 16
"""Characters of a title that a mood leaves to it."""
BESIDE = 5
"""Cells beside title and mood: the padding, the symbol and its space, the scrollbar."""
NOT_FOUND = "No entry has that in it.\nEnter searches by meaning."
DAY = 24 * 3600
AHEAD = 50
"""So many lines before the end of what is shown, older entries are read."""
KEPT = 1_000
"""Characters of an entry that are kept here; more is never shown."""
INVITATION = "No entries yet.\n\nWrite on the right: it is saved as you type, and can then be found by what it means."
LOOKS: dict[EntryState, tuple[str, str, str]] = {
    EntryState.SAVED: ("·", "dim", "saved"),
    EntryState.READING: ("◐", "$text-warning", "being read in"),
    EntryState.FINDABLE: ("●", "$text-success", "can be found"),
    EntryState.FAILED: ("!", "bold $text-error", "could not be read in"),
    EntryState.DROPPED: ("×", "dim", "saved, not searched"),
}
"""Symbol, style and words of each state."""


def day(at: float) -> str:
    """`Today`, `Yesterday` or the date; local time."""
    then = time.localtime(at)
    for name, moment in (("Today", time.time()), ("Yesterday", time.time() - DAY)):
        if then[:3] == time.localtime(moment)[:3]:
            return name
    return time.strftime("%a %d %b %Y", then)


def _short(entry: Entry) -> Entry:
    return replace(entry, text=entry.text[:KEPT])


class EntryList(Vertical):
    """What is chosen or asked for here is done by the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # A priority key is obeyed before the next one is given to a widget: what is typed after it goes to the editor.
        Binding("n", "screen.new", "New", id="entries.new", priority=True, tooltip="Begin a new entry"),
        Binding("d,delete", "ask('delete')", "Delete", id="entries.delete", tooltip="Delete the entry, after asking"),
        Binding("r", "ask('retry')", "Retry", id="entries.retry", tooltip="Read the entry in again"),
        Binding("x", "ask('drop')", "Drop", id="entries.drop", tooltip="Leave what failed: saved, not searched"),
    ]

    @dataclass
    class Opened(Message):
        entry: str

    @dataclass
    class EndReached(Message):
        """There are older entries than those here, and they are wanted."""

    @dataclass
    class Asked(Message):
        """`what` (delete, retry, drop) is wanted with the highlighted entry."""

        what: str
        entry: Entry | None

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._entries: dict[str, Entry] = {}
        self._more = False
        self._width = 0
        self.sought = ""
        """What the entries that are shown have in them."""
        self._open: str | None = None
        self.changes = 0
        """How often an entry was put here or taken away, so that a slower reading of all does not undo it."""
        self.options = OptionList(compact=True)
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
        if self._more and at >= self.options.max_scroll_y - AHEAD:
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
        """Show the newest entries; `more` says whether there are older ones, which are added when they are wanted."""
        self._entries = {entry.id: _short(entry) for entry in entries}
        self._more = more
        self._fill()

    def add(self, entries: Iterable[Entry], *, more: bool) -> None:
        """Show older entries too."""
        new = [entry for entry in map(_short, entries) if entry.id not in self._entries]
        last = day(self.entries[-1].created) if self._entries else ""
        self._entries |= {entry.id: entry for entry in new}
        self._more = more
        self.options.add_options(self._listed(new, last))

    def put(self, entry: Entry) -> None:
        """Add an entry, or show it as it is now."""
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

    def mark(self, id_: str, state: EntryState) -> None:
        if entry := self._entries.get(id_):
            self.put(replace(entry, state=state))

    def remove_entry(self, id_: str) -> None:
        self._entries.pop(id_, None)
        self.changes += 1
        self._fill()

    def mark_open(self, id_: str | None) -> None:
        self._open = id_
        self._fill(highlight=id_)

    def narrow(self, text: str) -> None:
        """From now on those are shown that have `text` in them, in any case."""
        self.sought = text.strip()

    def action_ask(self, what: str) -> None:
        self.post_message(self.Asked(what, self.highlighted))

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Opened(event.option_id))

    def _belongs(self, entry: Entry) -> bool:
        """Whether a new one is to be seen: not if it is as old as those that are still to be read."""
        oldest = min((each.created for each in self._entries.values()), default=0.0)
        return self.sought.casefold() in entry.text.casefold() and not (self._more and entry.created < oldest)

    def _listed(self, entries: Iterable[Entry], last_day: str = "") -> list[Option]:
        listed = []
        for entry in entries:
            if (today := day(entry.created)) != last_day:
                last_day = today
                listed.append(Option(Content.styled(today, "bold"), disabled=True))
            listed.append(Option(self._label(entry), entry.id))
        return listed

    def _fill(self, highlight: str | None = None) -> None:
        options = self.options
        before = highlight or (options.highlighted_option.id if options.highlighted_option else self._open)
        shown = self._listed(self.entries)
        options.set_options(shown)
        ids = [option.id for option in shown]
        wanted = before if before in ids else self._open
        if wanted is not None and wanted in ids:
            options.highlighted = ids.index(wanted)
        self.none.display = not shown
        self.none.update(Content(NOT_FOUND if self.sought else INVITATION))

    def _fitting(self, title: str, mood: str) -> tuple[str, str]:
        """Both where there is room for both, the title cut a little; else the title alone."""
        room = self._width - BESIDE - len(mood) - 1
        if not mood or room < min(LEAST_TITLE, len(title)):
            return title, ""
        return one_line(title, room), mood

    def _label(self, entry: Entry) -> Content:
        symbol, style, _ = LOOKS[entry.state]
        title, mood = self._fitting(one_line(entry.title, WIDTH), one_line(entry.mood, MOOD_WIDTH))
        label = Content.assemble((symbol, style), "\u00a0", (title, "bold") if entry.id == self._open else title)
        if mood:
            label = Content.assemble(label, " ", (mood, "dim"))
        if entry.state is not EntryState.FAILED:
            return label
        why = one_line(printable(entry.error), WIDTH) or "It could not be read in."
        return Content.assemble(label, "\n\u00a0\u00a0", (why, "$text-error"))
