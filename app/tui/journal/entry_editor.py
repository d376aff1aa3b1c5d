"""The editor of an entry. It saves the text while the user types, and indexes it after a pause."""

from __future__ import annotations

import asyncio
import logging
from asyncio import to_thread
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static, TextArea

from app.tui.host import HasClient, host
from app.tui.journal.entry_draft import PLACE, Draft, conflict, unsaved, write
from app.tui.journal.entry_head import EntryHead
from app.tui.journal.entry_indexing import EntryIndexing
from app.tui.shared.draft_writer import DraftWriter
from app.tui.shared.notice import Notice, failures
from app.tui.shared.typing_fields import TypingArea
from core.errors import CharlieError
from core.library.records import TITLE_WIDTH, Entry, EntryState
from core.text import one_line

log = logging.getLogger(__name__)

SAVE_SECONDS = 1.0
INGEST_SECONDS = 3.0


class Editor(TypingArea):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+home", "far(-1)", "Beginning", show=False, id="editor.first", tooltip="Go to the beginning"),
        Binding("ctrl+end", "far(1)", "End", show=False, id="editor.last", tooltip="Go to the end"),
        Binding("ctrl+g", "screen.history", "History", show=False, id="editor.history", tooltip="Show earlier texts"),
    ]


class EntryEditor(Vertical, HasClient):
    @dataclass
    class Saved(Message):
        """The database has the entry."""

        entry: Entry

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self.draft = Draft(None, "")
        self._unsaved: list[Draft] = []
        """Drafts that were left before they were saved, oldest first."""
        self._indexing = EntryIndexing()
        self._saving = asyncio.Lock()
        self._writer = DraftWriter(self)
        self._save_timer: Timer | None = None
        self._ingest_timer: Timer | None = None
        self.head = EntryHead(id="entry-head")
        self.area = Editor(compact=True, highlight_cursor_line=False, placeholder="How was today?")
        self.support = Static(classes="support", id="entry-support")
        self.notice = Notice(id="entry-notice")

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.area
        yield self.support
        yield self.notice

    def on_mount(self) -> None:
        self._show_head()

    async def on_unmount(self) -> None:
        """The interface is ending: a failure cannot be shown any more, so it is said once the program has ended."""
        self._stop_timers()
        self._read_area()
        async with self._saving:
            for draft in (*self._unsaved, self.draft):
                try:
                    entry = await to_thread(write, self.client, draft, draft.text) if draft.dirty else draft.entry
                    draft.mark_saved(entry, draft.text)
                    await self._indexing.submit(self.client, entry)
                except failures():
                    log.exception("An unsaved journal entry could not be saved")
                self._keep(draft)
                await self._writer.write()
                if draft.dirty:
                    host(self).last_words.append(await to_thread(unsaved, self.client, draft))

    @property
    def entry_id(self) -> str | None:
        return self.draft.entry.id if self.draft.entry else None

    def show(self, entry: Entry | None) -> None:
        """Open an entry, or an empty one. The draft before it is saved and indexed in the background."""
        self._read_area()
        old = self.draft
        self._begin(Draft(entry, entry.text if entry else ""))
        if old.dirty or self._indexing.wants(old.entry):
            self._unsaved.append(old)
            self.save_soon()

    def discard(self) -> None:
        """Open an empty entry, and discard the draft before it."""
        self.draft.saved = self.draft.text
        self._begin(Draft(None, ""))

    async def restore(self, id_: str) -> None:
        """Open the unsaved text of an entry that another process left when it ended; save it if another is open."""
        if (left := await to_thread(self.client.drafts.take, PLACE + id_)) is None:
            return
        found = await to_thread(self.client.journal.entries_of, [id_])
        draft = Draft(found[0], found[0].text) if found else Draft(None, "")
        draft.text, draft.place, draft.base = left.text, left.place, left.base
        self._read_area()
        if not draft.dirty:
            self._keep(draft)
            return
        if self.entry_id in (None, id_) and not self.draft.dirty:
            self._begin(draft)
        else:
            self._unsaved.append(draft)
            self.save_soon()
        self.notice.say(f"Restored what was not saved: “{one_line(left.text, TITLE_WIDTH)}”.")

    def _begin(self, draft: Draft) -> None:
        self._stop_timers()
        self._keep(self.draft)
        self.notice.clear()
        self._open(draft)

    def _open(self, draft: Draft) -> None:
        self.draft = draft
        self.area.load_text(draft.text)
        self.area.action_far(1)
        self._show_head()

    async def follow(self, entry: Entry, said: str = "Changed elsewhere. ^G shows the text before.") -> None:
        """Show the open entry as it is stored now. Unsaved text stays, and its save keeps both texts."""
        async with self._saving:
            self._read_area()
            mine = self.draft.entry
            if mine is None or mine.id != entry.id or mine.revision > entry.revision:
                return
            if mine.revision < entry.revision:
                if self.draft.dirty:
                    return
                text = entry.text
                if text != self.draft.text:
                    self.draft.text = text
                    self.area.follow(text)
                    self.notice.say(said)
                self.draft.mark_saved(entry, text)
            self.draft.entry = entry
            if not self.draft.dirty:  # else the notice may say why the text is not saved
                self._clear_failure()
            self._show_head()

    async def close(self, id_: str) -> None:
        """Close an entry that another process has deleted. Unsaved text becomes a new entry."""
        async with self._saving:
            self._read_area()
            if self.entry_id != id_:
                return
            if not self.draft.dirty:
                self._begin(Draft(None, ""))
                self.notice.say("The entry was deleted elsewhere. In the list, t shows the trash.")
                return
        await self.save()

    async def leave(self) -> bool:
        """Save and index the draft; False if it could not be saved and must stay open."""
        self._stop_timers()
        if not await self.save():
            return False
        await self.submit(self.draft)
        return True

    async def save(self) -> bool:
        """Save the drafts that were left, then the open one; True if the database has all of them."""
        self._read_area()
        async with self._saving:
            while self._unsaved:
                draft = self._unsaved[0]
                if not await self._save(draft):
                    self._bring_back(draft)
                    return False
                self._unsaved.remove(draft)
                await self.submit(draft)
            return await self._save(self.draft)

    async def _save(self, draft: Draft) -> bool:
        if not draft.dirty:
            return True
        text = draft.text
        try:
            entry = await to_thread(write, self.client, draft, text)
        except failures() as error:
            self.notice.fail(error)
            self._stop_timers()
            self._save_timer = self.set_timer(SAVE_SECONDS * 5, self.save_soon)
            return False
        said = conflict(draft, entry) if entry else ""
        draft.mark_saved(entry, text)
        self._keep(draft)
        if entry is None:
            return True
        self._clear_failure()
        if said:
            self.notice.say(said)
        if draft is self.draft:
            self._show_head()
        self.post_message(self.Saved(entry))
        return True

    def _keep(self, draft: Draft) -> None:
        """Write unsaved text to a file soon, and remove that of saved text."""
        self._writer.put(draft.place, draft.text if draft.dirty else "", draft.base)

    def _clear_failure(self) -> None:
        if self.notice.has_class("-failed"):
            self.notice.clear()

    def _bring_back(self, draft: Draft) -> None:
        """Open a draft that could not be saved, unless the user is writing another one; it is then tried again."""
        self._read_area()
        if self.draft.entry is None and not self.draft.text:
            self._unsaved.remove(draft)
            self._open(draft)

    async def submit(self, draft: Draft) -> None:
        """Index the saved text, once for each revision."""
        with self.notice.failures():
            await self._indexing.submit(self.client, draft.entry)

    async def await_keys(self) -> None:
        """Wait until all keys pressed so far are in the text."""
        done = asyncio.Event()
        if self.area.call_later(done.set):
            await done.wait()

    def _read_area(self) -> None:
        """Copy the text of the area into the draft; a change message may still be under way."""
        self.draft.text = self.area.text

    @on(TextArea.Changed)
    def changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._read_area()
        self._keep(self.draft)
        if not self.draft.dirty and not self._saving.locked():
            return
        self._stop_timers()
        self._save_timer = self.set_timer(SAVE_SECONDS, self.save_soon)
        self._ingest_timer = self.set_timer(INGEST_SECONDS, self.submit_soon)
        self._show_head()

    @work(group="save")
    async def save_soon(self) -> None:
        await self.save()

    @work(group="save")
    async def submit_soon(self) -> None:
        if await self.save():
            await self.submit(self.draft)

    def _stop_timers(self) -> None:
        for timer in (self._save_timer, self._ingest_timer):
            if timer is not None:
                timer.stop()

    def _show_head(self) -> None:
        self.head.show(self.draft)
        entry, line = self.draft.entry, self.client.settings.support.line
        self.support.update(Content(line))
        self.support.display = bool(line and entry and entry.distress)
        if entry is not None and entry.state is EntryState.FAILED and not self.draft.dirty:
            self.notice.fail(CharlieError(entry.error, "In the list, r indexes it again, x skips it."))
