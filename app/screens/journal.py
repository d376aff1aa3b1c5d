"""Journal: the entries, the editor, and one field that filters, searches by meaning and asks."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from typing import TYPE_CHECKING, Any, ClassVar, assert_never, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, Input

from app.bridge import Began, Happened
from app.widgets.answer import Answer
from app.widgets.dialogs import ConfirmDialog
from app.widgets.entry_editor import EntryEditor
from app.widgets.entry_list import EntryList
from app.widgets.following import Following
from app.widgets.job_line import JobLine
from app.widgets.notice import FAILURES, Notice
from app.widgets.search_results import SearchResults
from app.widgets.status_bar import StatusBar
from app.widgets.typing_fields import TypingField
from core.events import JobChanged, QueueChanged
from core.library import PART, Entry, EntryState
from core.text import one_line
from tasks.jobs import Ended, Hits, Job, JobKind, JobState, Text

if TYPE_CHECKING:
    from app.client import Client
    from app.tui import CharlieApp

WEEK = "The last seven days"
ASKS_AGAIN, REFLECTS_AGAIN = "Enter in the field asks again.", "^R looks back again."
FIELD = "Filter… · Enter searches by meaning · ? asks your journal"

WIDTHS: list[tuple[int, str]] | None = [(0, "-narrow"), (60, "-usual"), (100, "-wide")]
"""Below 60 columns the list lies over the content; from 100 on it shows longer titles."""


class JournalScreen(Screen[None]):
    CSS_PATH = "../journal.tcss"
    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="journal.back", tooltip="Stop a search or an answer, else go back"),
        # Priority keys are obeyed before the next key is given to a widget, so that what follows goes where it should.
        Binding("ctrl+n", "new", "New", id="journal.new", priority=True, tooltip="Begin a new entry", show=False),
        Binding(
            "ctrl+f",
            "field",
            "Search",
            id="journal.search",
            priority=True,
            tooltip="Go to the field that searches and asks",
        ),
        Binding(
            "ctrl+r",
            "reflect",
            "Reflect",
            id="journal.reflect",
            tooltip="Look back on the last seven days",
            show=False,
        ),
        Binding("ctrl+b", "list", "Entries", id="journal.list", priority=True, tooltip="Go to the list", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.following: Following | None = None
        self._stale: set[str] = set()
        self._refreshing = False
        self._placing = self._places_asked = False
        self._changing = asyncio.Lock()
        """Held while another entry is opened, so that no two openings mix."""
        self._readings = 0
        """Counts the readings of the list, so that a slow one knows that it is out of date."""
        self._read_on: int | None = None
        """Where in the journal the list goes on below what is shown; None at the end, and while it is read."""
        self._opening = 0
        """Counts what was asked to be opened, so that a slow reading does not open what is wanted no more."""
        self._from = ""
        """What the shown entry was opened from, results or answer, if from one of them."""
        self._asked = False
        """Whether what is found is an answer."""
        self.field = TypingField(placeholder=FIELD, compact=True, id="journal-field")
        self.entry_list = EntryList(id="entries")
        self.switcher = ContentSwitcher(initial="editor")
        self.editor = EntryEditor(id="editor")
        self.results = SearchResults(id="results")
        self.answer = Answer(id="answer")
        self.notice = Notice(id="journal-notice")

    def compose(self) -> ComposeResult:
        yield self.field
        with Horizontal(id="journal"):
            yield self.entry_list
            with Vertical(id="page"):
                with self.switcher:
                    yield self.editor
                    yield self.results
                    yield self.answer
                yield self.notice
        yield StatusBar()
        yield Footer()

    @property
    def client(self) -> Client:
        return cast("CharlieApp", self.app).client

    @property
    def shown(self) -> str:
        """The id of what is on the right: editor, results or answer."""
        return self.switcher.current or "editor"

    def on_mount(self) -> None:
        self.editor.area.focus()
        self.reload()

    async def on_unmount(self) -> None:
        if self.following is not None:
            self.following.stop()
            await to_thread(self.following.join)

    @work(group="leave")
    async def on_screen_suspend(self) -> None:
        await self.editor.leave()

    # What happens elsewhere.

    @on(Began)
    def began(self) -> None:
        self.reload()

    @on(Happened)
    def happened(self, message: Happened) -> None:
        event = message.event
        if isinstance(event, JobChanged) and event.state == "queued" and event.job != JobKind.INGEST:
            return  # there may be thousands, and each goes behind all that waits
        lines = self.query(JobLine)
        for line in lines:
            line.happened(event)
        if isinstance(event, JobChanged | QueueChanged) and any(line.state is JobState.QUEUED for line in lines):
            self.refresh_places()
        if isinstance(event, JobChanged) and event.job == JobKind.DESCRIBE and event.state == "done":
            self.described(event.id)
        if isinstance(event, JobChanged) and event.job == JobKind.INGEST:
            if not event.subject:  # it is of several entries, whichever they are
                self.reload()
            if changed := event.subject or self.editor.entry_id:
                self._stale.add(changed)
                self.refresh_entries()

    @work(group="described")
    async def described(self, job_id: str) -> None:
        """Show the moods and titles that a job has found, and why it found none."""
        try:
            result = await to_thread(self._result, job_id)
        except FAILURES as error:
            self.notice.fail(error)
            return
        self._stale.update(result.get("entries", ()))
        self.refresh_entries()
        if notes := result.get("notes"):
            self.notice.say(" ".join(dict.fromkeys(notes)))

    def _result(self, job_id: str) -> dict[str, Any]:
        """Of a job that has ended."""
        ended = [output for output in self.client.follow(job_id) if isinstance(output, Ended)]
        return ended[-1].result or {}

    @on(Following.Came)
    async def came(self, message: Following.Came) -> None:
        following = message.following
        asked = self._asked
        for output in following.take():
            if following is not self.following:
                return
            match output:
                case Text(text):
                    await self.answer.write(text)
                case Hits() if asked:
                    self.answer.found(output)
                case Hits():
                    self.results.show(output)
                case Ended():
                    await (self.answer if asked else self.results).finish(output)
                    self.following = None
                case _:
                    assert_never(output)

    @work(group="reload", exclusive=True)
    async def reload(self) -> None:
        """Read the list anew; once more when it has changed here while it was read."""
        self._readings += 1
        changes = None
        while changes != self.entry_list.changes:
            changes = self.entry_list.changes
            try:
                entries, on = await to_thread(self._read, 0, max(PART, len(self.entry_list.entries)))
            except FAILURES as error:
                self.notice.fail(error)
                return
        self._read_on = on
        self.entry_list.show(entries, more=on is not None)

    @on(EntryList.EndReached)
    @work(group="more", exclusive=True)
    async def read_on(self) -> None:
        if (start := self._read_on) is None:
            return
        self._read_on, reading = None, self._readings
        try:
            entries, on = await to_thread(self._read, start, PART)
        except FAILURES as error:
            self.notice.fail(error)
            return
        if reading == self._readings:
            self._read_on = on
            self.entry_list.add(entries, more=on is not None)

    def _read(self, start: int, count: int) -> tuple[list[Entry], int | None]:
        """Give it up when another reading of the list has begun."""
        reading = self._readings
        text = self.entry_list.sought
        return self.client.library.read_entries(start, count, text, lambda: reading != self._readings)

    def refresh_entries(self) -> None:
        """Show the stale entries as they are now; one reading after the other, or the older could be shown last."""
        if not self._refreshing:
            self._refreshing = True
            self._refresh_entries()

    @work(group="entries")
    async def _refresh_entries(self) -> None:
        while self._stale:
            stale, self._stale = self._stale, set()
            try:
                entries = await to_thread(self.client.library.entries_of, list(stale))
            except FAILURES as error:
                self.notice.fail(error)
                break
            for entry in entries:
                self.entry_list.put(entry)
                self.editor.update_state(entry)
        self._refreshing = False

    def refresh_places(self) -> None:
        """Tell each job that waits where it stands; events that come meanwhile are answered by one more reading."""
        self._places_asked = True
        if not self._placing:
            self._placing = True
            self.place()

    @work(group="places")
    async def place(self) -> None:
        while self._places_asked:
            self._places_asked = False
            lines = list(self.query(JobLine))
            try:
                queue = await to_thread(self.client.places, [line.job_id for line in lines])
            except FAILURES as error:
                self.notice.fail(error)
                break
            for line in lines:
                line.place(queue)
        self._placing = False

    # The entries.

    @on(EntryEditor.Saved)
    def saved(self, message: EntryEditor.Saved) -> None:
        self.entry_list.put(message.entry)
        if self.editor.entry_id == message.entry.id:
            self.entry_list.mark_open(message.entry.id)

    @on(EntryList.Opened)
    @on(SearchResults.Opened)
    @on(Answer.Opened)
    def opened(self, message: EntryList.Opened | SearchResults.Opened | Answer.Opened) -> None:
        self._from = "" if isinstance(message, EntryList.Opened) else self.shown
        self.open_entry(message.entry)

    @work(group="open")
    async def open_entry(self, id_: str) -> None:
        """Leave the entry that is being written, and go to another; it stays when it cannot be saved."""
        self._opening += 1
        mine = self._opening
        async with self._changing:
            if id_ != self.editor.entry_id:
                if not await self.editor.leave():
                    self._show("editor")
                    return
                try:
                    entry = await to_thread(self.client.library.entry, id_)
                except FAILURES as error:
                    self.notice.fail(error)
                    return
                if mine != self._opening:
                    return
                self.editor.show(entry)
                self.entry_list.mark_open(id_)
            self._write()

    @on(EntryList.Asked)
    def asked(self, message: EntryList.Asked) -> None:
        match message.what, message.entry:
            case "delete", entry if entry is not None:
                self.delete(entry)
            case "retry", entry if entry is not None:
                self.retry(entry)
            case "drop", entry if entry is not None:
                self.drop(entry)

    async def action_new(self) -> None:
        """Begin an empty entry at once, with the keys that come next; the one before is saved meanwhile."""
        await self.editor.typed()
        self._opening += 1
        self._from = ""
        self.editor.show(None)
        self.entry_list.mark_open(None)
        self._write()

    def _write(self) -> None:
        self.notice.clear()
        self.remove_class("-list")
        self._show("editor")
        self.set_focus(self.editor.area)  # at once; focus() would wait behind the keys that came by now

    @work
    async def delete(self, entry: Entry) -> None:
        question = f"Delete “{one_line(entry.title, 40)}”? It cannot be brought back."
        if not await self.app.push_screen_wait(ConfirmDialog(question, "Delete")):
            return
        async with self._changing:
            try:
                await to_thread(self._delete, entry.id)
            except FAILURES as error:
                self.notice.fail(error)
                return
            if self.editor.entry_id == entry.id:
                self.editor.drop()
                self.entry_list.mark_open(None)
            self.entry_list.remove_entry(entry.id)
            if self._read_on:
                self._read_on -= 1

    def _delete(self, id_: str) -> None:
        for queued in self.client.queue():
            if queued.job.kind is JobKind.INGEST and queued.job.subject == id_:
                self.client.cancel(queued.job.id)
        self.client.delete_entry(id_)
        self.client.jobs.release(id_)

    @work
    async def retry(self, entry: Entry) -> None:
        """Have an entry read in again."""
        if entry.state is EntryState.READING:
            return
        try:
            await to_thread(self.client.ingest, entry)
        except FAILURES as error:
            self.notice.fail(error)
            return
        if self.editor.entry_id == entry.id:
            self.editor.notice.clear()
        self.notice.say("It waits to be read in")

    @work
    async def drop(self, entry: Entry) -> None:
        """Leave an entry that could not be read in as it is."""
        if entry.state is not EntryState.FAILED:
            self.notice.say("Only what could not be read in is dropped; d deletes an entry")
            return
        try:
            await to_thread(self.client.drop, entry)
        except FAILURES as error:
            self.notice.fail(error)
            return
        self._stale.add(entry.id)
        self.refresh_entries()
        self.notice.say("It stays saved, and is not searched; r reads it in after all")

    # The field.

    @on(Input.Changed, "#journal-field")
    def narrow(self, event: Input.Changed) -> None:
        self.entry_list.narrow("" if event.value.startswith("?") else event.value)
        self.reload()

    @on(Input.Submitted, "#journal-field")
    def submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        if text:
            self.find(text)
        else:
            self._show("editor")

    @work(group="find", exclusive=True)
    async def find(self, text: str) -> None:
        """Search by meaning, or ask when a question mark stands in front."""
        question = text.removeprefix("?").strip() if text.startswith("?") else None
        await self.editor.leave()
        try:
            await self._give_up()
            if question is None:
                job = await to_thread(self.client.search, text)
            else:
                job = await to_thread(self.client.ask, question)
        except FAILURES as error:
            self.notice.fail(error)
            return
        self._begin(asked=question is not None)
        if question is None:
            await self.results.begin(text, job)
        else:
            await self.answer.begin(question, job, ASKS_AGAIN)
        if self.field.has_focus and self.field.value.strip() == text:  # else the person types on
            self._focus_found()
        self._follow(job)

    @work(group="find", exclusive=True)
    async def reflect(self) -> None:
        """Look back on the week that was."""
        await self.editor.leave()
        try:
            await self._give_up()
            job = await to_thread(self.client.reflect)
        except FAILURES as error:
            self.notice.fail(error)
            return
        self._begin(asked=True)
        await self.answer.begin(WEEK, job, REFLECTS_AGAIN)
        self._focus_found()
        self._follow(job)

    def _begin(self, *, asked: bool) -> None:
        self.notice.clear()
        self.remove_class("-list")
        self._from = ""
        self._asked = asked
        self._show("answer" if asked else "results")

    def _follow(self, job: Job) -> None:
        self.following = Following(self.client, job.id, self)
        self.refresh_places()

    def _focus_found(self) -> None:
        match self.shown:
            case "results":
                self.results.options.focus()
            case _:
                (self.answer.options if self.answer.options.display else self.answer).focus()

    async def _give_up(self) -> None:
        """Stop what is still being found."""
        following, self.following = self.following, None
        if following is not None:
            following.stop()
            await to_thread(self.client.cancel, following.job_id)

    def action_reflect(self) -> None:
        self.reflect()

    def action_field(self) -> None:
        self.remove_class("-list")
        self.set_focus(self.field)  # at once; focus() would wait behind the keys that came by now

    def action_list(self) -> None:
        """Go to the list; where it lies over the content, also away from it."""
        if self.has_class("-narrow") and self.has_class("-list"):
            self.remove_class("-list")
            self.editor.area.focus() if self.shown == "editor" else self._focus_found()
            return
        self.add_class("-list")
        self.entry_list.options.focus()

    def action_back(self) -> None:
        """To what the entry was found by; else stop what is being found; else to the entry; else to the list."""
        if self.shown == "editor" and self._from:
            self._show(self._from)
            self._focus_found()
        elif self.following is not None:
            self.stop(self.following.job_id)
        elif self._from:
            self._from = ""
            self._show("editor")
            self.action_list()
        elif self.shown != "editor":
            self._show("editor")
            self.field.focus()
        elif self.field.has_focus and self.field.value:
            self.field.clear()
        else:
            self.action_list()

    @work
    async def stop(self, job_id: str) -> None:
        try:
            await to_thread(self.client.cancel, job_id)
        except FAILURES as error:
            self.notice.fail(error)

    def _show(self, what: str) -> None:
        self.switcher.current = what
