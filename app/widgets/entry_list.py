"""The journal entries by day, each with how far its ingestion is."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import on
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
NOT_FOUND = "No entry has that in it.\nEnter searches by meaning."
DAY = 24 * 3600
INVITATION = "No entries yet.\n\nWrite on the right: it is saved as you type, and can then be found by what it means."
LOOKS: dict[EntryState, tuple[str, str, str]] = {
    EntryState.SAVED: ("·", "dim", "saved"),
    EntryState.READING: ("◐", "$text-warning", "being read in"),
    EntryState.FINDABLE: ("●", "$text-success", "can be found"),
    EntryState.FAILED: ("!", "bold $text-error", "could not be read in"),
}
"""Symbol, style and words of each state."""


def day(at: float) -> str:
    """`Today`, `Yesterday` or the date; local time."""
    then = time.localtime(at)
    for name, moment in (("Today", time.time()), ("Yesterday", time.time() - DAY)):
        if then[:3] == time.localtime(moment)[:3]:
            return name
    return time.strftime("%a %d %b %Y", then)


class EntryList(Vertical):
    """What is chosen or asked for here is done by the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # A priority key is obeyed before the next one is given to a widget: what is typed after it goes to the editor.
        Binding("n", "screen.new", "New", id="entries.new", priority=True, tooltip="Begin a new entry"),
        Binding("d,delete", "ask('delete')", "Delete", id="entries.delete", tooltip="Delete the entry, after asking"),
        Binding("r", "ask('retry')", "Retry", id="entries.retry", tooltip="Read the entry in again"),
    ]

    @dataclass
    class Opened(Message):
        entry: str

    @dataclass
    class Asked(Message):
        """`what` (delete, retry) is wanted with the highlighted entry."""

        what: str
        entry: Entry | None

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._entries: dict[str, Entry] = {}
        self._folded: dict[str, tuple[int, str]] = {}
        self._sought = ""
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

    @property
    def entries(self) -> list[Entry]:
        """The newest first."""
        return sorted(self._entries.values(), key=lambda entry: entry.created, reverse=True)

    @property
    def highlighted(self) -> Entry | None:
        option = self.options.highlighted_option
        return self._entries.get(option.id) if option is not None and option.id else None

    def show(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.id: entry for entry in entries}
        self._fill()

    def put(self, entry: Entry) -> None:
        """Add an entry, or show it as it is now."""
        old = self._entries.get(entry.id)
        if old is not None and old.revision > entry.revision:
            return
        self._entries[entry.id] = entry
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
        """Show those that have `text` in them, in any case."""
        self._sought = text.strip().casefold()
        self._fill()

    def action_ask(self, what: str) -> None:
        self.post_message(self.Asked(what, self.highlighted))

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Opened(event.option_id))

    def _has(self, entry: Entry) -> bool:
        revision, folded = self._folded.get(entry.id, (0, ""))
        if revision != entry.revision:
            folded = entry.text.casefold()
            self._folded[entry.id] = (entry.revision, folded)
        return self._sought in folded

    def _fill(self, highlight: str | None = None) -> None:
        options = self.options
        before = highlight or (options.highlighted_option.id if options.highlighted_option else self._open)
        shown: list[Option] = []
        last_day = ""
        for entry in self.entries:
            if self._sought and not self._has(entry):
                continue
            if (today := day(entry.created)) != last_day:
                last_day = today
                shown.append(Option(Content.styled(today, "bold"), disabled=True))
            shown.append(Option(self._label(entry), entry.id))
        options.set_options(shown)
        ids = [option.id for option in shown]
        wanted = before if before in ids else self._open
        if wanted is not None and wanted in ids:
            options.highlighted = ids.index(wanted)
        self.none.display = not shown
        self.none.update(Content(NOT_FOUND if self._entries else INVITATION))

    def _label(self, entry: Entry) -> Content:
        symbol, style, _ = LOOKS[entry.state]
        title = one_line(entry.title, WIDTH)
        label = Content.assemble((symbol, style), "\u00a0", (title, "bold") if entry.id == self._open else title)
        if entry.state is not EntryState.FAILED:
            return label
        why = one_line(printable(entry.error), WIDTH) or "It could not be read in."
        return Content.assemble(label, "\n\u00a0\u00a0", (why, "$text-error"))
