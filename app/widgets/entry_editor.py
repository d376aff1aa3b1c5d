"""Where an entry is written. It is saved as one types, and read in once the typing has paused."""

from __future__ import annotations

import asyncio
import logging
import re
from asyncio import to_thread
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.document._wrapped_document import WrappedDocument
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Static, TextArea

from app.widgets.entry_list import LOOKS
from app.widgets.notice import FAILURES, Notice
from app.widgets.turn import moment
from app.widgets.typing_fields import TypingArea
from app.widgets.wrapped import Wrapped
from core.errors import CharlieError, NotFoundError
from core.library import TITLE_WIDTH, Entry, EntryState
from core.text import new_id, one_line, printable

if TYPE_CHECKING:
    from textual.timer import Timer

    from app.client import Client
    from app.tui import CharlieApp

log = logging.getLogger(__name__)

SAVE_SECONDS = 1.0
INGEST_SECONDS = 3.0
LONGEST_LINE = 4_000
"""Characters of one line; wrapping a longer one at every key would freeze the typing, so it is broken at a space."""
_LONG = re.compile(rf"(.{{1,{LONGEST_LINE}}})(?:\s|$)|(.{{{LONGEST_LINE}}})")


def break_long_lines(text: str) -> str:
    """Lines of more than LONGEST_LINE characters are broken at a space, or anywhere where there is none."""
    if all(len(line) <= LONGEST_LINE for line in text.split("\n")):
        return text
    lines = []
    for line in text.split("\n"):
        pieces = [first or second for first, second in _LONG.findall(line)] if len(line) > LONGEST_LINE else [line]
        lines += pieces
    return "\n".join(lines)


def _described(entry: Entry) -> list[tuple[str, str]]:
    """Mood and title as a model has them, as far as it has."""
    title = one_line(entry.suggested_title, TITLE_WIDTH)
    parts = [one_line(entry.mood, TITLE_WIDTH), f"“{title}”" if title else ""]
    return [(f" · {part}", "dim") for part in parts if part]


class Editor(TypingArea):
    """A text area that takes any paste, and may be squeezed to nothing."""

    def render_line(self, y: int) -> Strip:
        # Textual cannot wrap a placeholder at no width at all.
        return super().render_line(y) if self.content_size.width else Strip.blank(0)

    @property
    def wrapped_document(self) -> Wrapped:
        return self._wrapped

    @wrapped_document.setter
    def wrapped_document(self, made: WrappedDocument) -> None:
        """Textual sets one for each text; ours takes its place."""
        self._wrapped = Wrapped(made.document, tab_width=self.indent_width)

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert(break_long_lines(printable(event.text)))


@dataclass
class Draft:
    """What is being written: the entry as last saved (None: not yet), and the text as it stands."""

    entry: Entry | None
    text: str
    dirty: bool = False
    id: str = field(default_factory=new_id)
    """Of the entry that it becomes: a saving that failed half-way is repeated, not doubled."""


class EntryEditor(Vertical):
    @dataclass
    class Saved(Message):
        """The database has the entry."""

        entry: Entry

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.draft = Draft(None, "")
        self._put_away: list[Draft] = []
        """What was left before the database had it; the oldest first."""
        self._submitted: dict[str, int] = {}
        self._saving = asyncio.Lock()
        self._save_timer: Timer | None = None
        self._ingest_timer: Timer | None = None
        self.head = Static(id="entry-head")
        self.area = Editor(compact=True, highlight_cursor_line=False, placeholder="How was today?")
        self.notice = Notice(id="entry-notice")

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.area
        yield self.notice

    def on_mount(self) -> None:
        self._tell()

    async def on_unmount(self) -> None:
        """The interface ends: nothing is left to show a failure on, so it is logged."""
        self._stop_timers()
        self._take()
        async with self._saving:
            for draft in (*self._put_away, self.draft):
                try:
                    entry = await to_thread(self._write, draft) if draft.dirty else draft.entry
                    if entry is not None and self._wants_ingest(entry):
                        await to_thread(self.client.ingest, entry)
                except FAILURES:
                    log.exception("A journal entry that was being written could not be saved")

    @property
    def client(self) -> Client:
        return cast("CharlieApp", self.app).client

    @property
    def entry_id(self) -> str | None:
        return self.draft.entry.id if self.draft.entry else None

    def show(self, entry: Entry | None) -> None:
        """Begin with an entry, or with an empty one. What was written before is saved and read in meanwhile."""
        self._take()
        old = self.draft
        self._begin(Draft(entry, break_long_lines(printable(entry.text)) if entry else ""))
        if old.dirty or (old.entry is not None and self._wants_ingest(old.entry)):
            self._put_away.append(old)
            self.save_soon()

    def drop(self) -> None:
        """Begin with an empty one, and forget what was written before."""
        self._begin(Draft(None, ""))

    def _begin(self, draft: Draft) -> None:
        self._stop_timers()
        self.draft = draft
        self.area.load_text(draft.text)
        self.notice.clear()
        self._tell()

    def update_state(self, entry: Entry) -> None:
        """The ingestion of the shown entry went on."""
        mine = self.draft.entry
        if mine is None or mine.id != entry.id or mine.revision != entry.revision:
            return
        self.draft.entry = entry
        if not self.draft.dirty:  # else it may say why the text is not saved
            self.notice.clear()
        self._tell()

    async def leave(self) -> bool:
        """Save and read in what was written; False when it could not be saved and must stay here."""
        self._stop_timers()
        if not await self.save():
            return False
        await self.submit(self.draft)
        return True

    async def save(self) -> bool:
        """Write what was put away, then the text, where they have changed; True when the database has all."""
        self._take()
        async with self._saving:
            while self._put_away:
                draft = self._put_away[0]
                if not await self._save(draft):
                    self._bring_back(draft)
                    return False
                self._put_away.remove(draft)
                await self.submit(draft)
            return await self._save(self.draft)

    async def _save(self, draft: Draft) -> bool:
        if not draft.dirty:
            return True
        draft.dirty = False
        try:
            entry = await to_thread(self._write, draft)
        except FAILURES as error:
            draft.dirty = True
            self.notice.fail(error)
            self._stop_timers()
            self._save_timer = self.set_timer(SAVE_SECONDS * 5, self.save_soon)
            return False
        if entry is None:
            return True
        draft.entry = entry
        if draft is self.draft:
            self.notice.clear()
            self._tell()
        self.post_message(self.Saved(entry))
        return True

    def _bring_back(self, draft: Draft) -> None:
        """Show what could not be saved, unless something else is being written by now; it is then tried again."""
        self._take()
        if self.draft.entry is None and not self.draft.text:
            self._put_away.remove(draft)
            self.draft = draft
            self.area.load_text(draft.text)
            self._tell()

    async def submit(self, draft: Draft) -> None:
        """Have the saved text read in, once for each revision."""
        entry = draft.entry
        if entry is None or not self._wants_ingest(entry):
            return
        self._submitted[entry.id] = entry.revision
        try:
            await to_thread(self.client.ingest, entry)
        except FAILURES as error:
            del self._submitted[entry.id]
            self.notice.fail(error)

    async def typed(self) -> None:
        """Wait until the keys that came so far are in the text."""
        done = asyncio.Event()
        if self.area.call_later(done.set):
            await done.wait()

    def _take(self) -> None:
        """Take over the text of which the area has not told yet."""
        text = self.area.text
        if text != self.draft.text:
            self.draft.text = text
            self.draft.dirty = True

    @on(TextArea.Changed)
    def changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._take()
        if not self.draft.dirty:
            return
        self._stop_timers()
        self._save_timer = self.set_timer(SAVE_SECONDS, self.save_soon)
        self._ingest_timer = self.set_timer(INGEST_SECONDS, self.submit_soon)
        self._tell()

    @work(group="save")
    async def save_soon(self) -> None:
        await self.save()

    @work(group="save")
    async def submit_soon(self) -> None:
        if await self.save():
            await self.submit(self.draft)

    def _wants_ingest(self, entry: Entry) -> bool:
        asked = self._submitted.get(entry.id) == entry.revision
        return entry.state is EntryState.SAVED and bool(entry.text.strip()) and not asked

    def _write(self, draft: Draft) -> Entry | None:
        if draft.entry is None:
            return self.client.library.new_entry(draft.text, draft.id) if draft.text.strip() else None
        try:
            return self.client.library.write_entry(draft.entry.id, draft.text)
        except NotFoundError:  # deleted elsewhere while it was being written here
            return self.client.library.new_entry(draft.text)

    def _stop_timers(self) -> None:
        for timer in (self._save_timer, self._ingest_timer):
            if timer is not None:
                timer.stop()

    def _tell(self) -> None:
        entry = self.draft.entry
        if entry is None:
            self.head.update(Content.assemble(("New entry", "bold"), " · not saved yet" if self.draft.dirty else ""))
            return
        symbol, style, words = LOOKS[entry.state]
        state = Content("not saved yet") if self.draft.dirty else Content.assemble((symbol, style), f" {words}")
        self.head.update(Content.assemble((moment(entry.created), "bold"), "  ", state, *_described(entry)))
        if entry.state is EntryState.FAILED and not self.draft.dirty:
            self.notice.fail(CharlieError(entry.error, "In the list, r reads it in again, x leaves it."))
