"""Journal: the entries, the editor, and one field that filters, searches by meaning and asks questions."""

from __future__ import annotations

from asyncio import to_thread
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Input

from app.tui.bridge import Began, Happened
from app.tui.host import HasClient
from app.tui.journal.entry_actions import EntryActions
from app.tui.journal.entry_editor import EntryEditor
from app.tui.journal.entry_list import EntryList
from app.tui.journal.finder import Finder
from app.tui.library.listing import Opened
from app.tui.shared.notice import Notice
from app.tui.shared.status_bar import StatusBar
from app.tui.shared.steady_footer import SteadyFooter
from app.tui.shared.typing_fields import TypingField
from core.events.types import JobChanged, JobKind, JobProgress, JobState, LibraryChanged
from tasks.jobs.records import Ended

FIELD = "Filter… · Enter searches · ? asks your journal"

INDEXING = "Indexing:"
USUAL = 60
WIDTHS: list[tuple[int, str]] | None = [(0, "-narrow"), (USUAL, "-usual"), (100, "-wide")]
"""Below 60 columns the list lies over the content; from 100 on it has longer titles."""


class JournalScreen(Screen[None], HasClient):
    CSS_PATH = "journal.tcss"
    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="journal.back", tooltip="Stop a search or an answer, or go back"),
        # Priority keys run before a widget gets the next key, so that text typed after one goes to the right place.
        Binding("ctrl+n", "new", "New", id="journal.new", priority=True, tooltip="Start a new entry", show=False),
        Binding("ctrl+f", "field", "Search", id="journal.search", priority=True, tooltip="Filter, search or ask"),
        Binding("ctrl+r", "reflect", "Reflect", id="journal.reflect", tooltip="Reflect on the last 7 days", show=False),
        Binding("ctrl+b", "list", "Entries", id="journal.list", priority=True, tooltip="Go to the list", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._opening = 0
        """Counts requests to open an entry, so that a slow reading does not open an earlier one."""
        self._from_finder = False
        """Whether the shown entry was opened from the results or the answer."""
        self._indexing = ""
        """The id of the job that indexes several entries; the notice shows its progress."""
        self.field = TypingField(placeholder=FIELD, compact=True, id="journal-field")
        self.entry_list = EntryList(id="entries")
        self.switcher = ContentSwitcher(initial="editor")
        self.editor = EntryEditor(id="editor")
        self.notice = Notice(id="journal-notice")
        self.finder = Finder(self.notice)
        self.actions = EntryActions(self, self.editor, self.entry_list, self.notice)
        self.pages = self.actions.pages

    def compose(self) -> ComposeResult:
        yield self.field
        with Horizontal(id="journal"):
            yield self.entry_list
            with Vertical(id="page"):
                with self.switcher:
                    yield self.editor
                    yield self.finder
                yield self.notice
        yield StatusBar()
        yield SteadyFooter()

    @property
    def shown(self) -> str:
        """The id of the widget on the right: editor, results or answer."""
        return "editor" if self.switcher.current == "editor" else self.finder.current or ""

    def on_mount(self) -> None:
        self.editor.area.focus()
        self.pages.reload()
        self.run_worker(self.actions.restore())

    def on_resize(self, event: events.Resize) -> None:
        """Take the focus from a list that the new size hides."""
        if event.size.width < USUAL and self.entry_list.has_focus_within and not self.has_class("-list"):
            self._focus_page()

    @work(group="leave")
    async def on_screen_suspend(self) -> None:
        await self.editor.leave()

    # Events of the machine.

    @on(Began)
    def began(self) -> None:
        self._reload()

    def _reload(self) -> None:
        self.pages.reload()
        if self.editor.entry_id:
            self.pages.refresh([self.editor.entry_id])

    @on(Happened)
    def happened(self, message: Happened) -> None:
        event = message.event
        if isinstance(event, JobChanged) and event.state is JobState.QUEUED and event.job is not JobKind.INGEST:
            return  # there may be thousands, and each is behind the jobs that wait here
        self.finder.places.happened(event)
        match event:
            case JobChanged(id=self._indexing, state=state) if state.ended:
                self._indexing = ""
                if self._notice_is_progress():
                    self.notice.clear()
                self._reload()
            case JobChanged(job=JobKind.DESCRIBE, state=JobState.DONE):
                self.described(event.id)
            case JobChanged(job=JobKind.INGEST, subject="") | LibraryChanged(""):  # several entries, without their ids
                if isinstance(event, JobChanged) and event.state is JobState.RUNNING:
                    self._indexing = event.id
                self._reload()
            case LibraryChanged():
                self.pages.refresh([event.id])
            case JobChanged(job=JobKind.INGEST):
                self.pages.refresh([event.subject])
            case JobProgress(id=self._indexing) if not self.notice.display or self._notice_is_progress():
                self.notice.say(f"{INDEXING} {event.total - event.done:,} of {event.total:,} to go.")

    def _notice_is_progress(self) -> bool:
        return str(self.notice.content).startswith(INDEXING)

    @work
    async def described(self, job_id: str) -> None:
        """Show the moods and titles from a job, or its note on why there are none."""
        with self.notice.failures():
            outputs = await to_thread(lambda: list(self.client.follow(job_id)))
            result = next((output.result for output in outputs if isinstance(output, Ended)), None) or {}
            self.pages.refresh(result.get("entries", ()))
            if notes := result.get("notes"):
                self.notice.say(" ".join(dict.fromkeys(notes)))

    # The entries.

    @on(EntryList.EndReached)
    def read_more(self) -> None:
        self.pages.read_more()

    @on(EntryEditor.Saved)
    def saved(self, message: EntryEditor.Saved) -> None:
        self.entry_list.put(message.entry)
        if self.editor.entry_id == message.entry.id:
            self.entry_list.mark_open(message.entry.id)

    @on(Opened)
    def opened(self, message: Opened) -> None:
        self._from_finder = message.source is not self.entry_list
        self.open_entry(message.id)

    @work(group="open")
    async def open_entry(self, id_: str) -> None:
        """Open another entry, unless the present one cannot be saved."""
        self._opening += 1
        mine = self._opening
        async with self.actions.changing:
            with self.notice.failures():
                if id_ != self.editor.entry_id:
                    if not await self.editor.leave():
                        self.switcher.current = "editor"
                        return
                    entry = await to_thread(self.client.journal.entry, id_)
                    if mine != self._opening:
                        return
                    self.editor.show(entry)
                    self.entry_list.mark_open(id_)
                    await self.editor.restore(id_)
                self._show_editor()

    @on(EntryList.Asked)
    def asked(self, message: EntryList.Asked) -> None:
        self.run_worker(self.actions.carry_out(message.what, message.entry))

    def action_undo_delete(self) -> None:
        self.run_worker(self.actions.undo())

    def action_history(self) -> None:
        if (id_ := self.editor.entry_id) is None:
            self.notice.say("A new entry has no history yet.")
        else:
            self.run_worker(self.actions.show_history(id_))

    async def action_new(self) -> None:
        """Start an empty entry at once, for the keys that follow; the present one is saved in the background."""
        await self.editor.await_keys()
        self._opening += 1
        self._from_finder = False
        self.editor.show(None)
        self.entry_list.mark_open(None)
        self._show_editor()

    def _show_editor(self) -> None:
        self.notice.clear()
        self.remove_class("-list")
        self.switcher.current = "editor"
        self.set_focus(self.editor.area)  # at once; focus() would wait behind keys already pressed

    # The field.

    @on(Input.Changed, "#journal-field")
    def narrow(self, event: Input.Changed) -> None:
        self.entry_list.narrow("" if event.value.startswith("?") else event.value)
        self.pages.reload()

    @on(Input.Submitted, "#journal-field")
    def submitted(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        if text:
            self.find(text)
        else:
            self.switcher.current = "editor"

    @work(group="find", exclusive=True)
    async def find(self, text: str) -> None:
        """Search by meaning, or ask if the text starts with a question mark."""
        await self.editor.leave()
        if await self.finder.find(text):
            self._show_finder()
            if self.field.has_focus and self.field.value.strip() == text:  # else the user is typing on
                self.finder.focus_found()

    @work(group="find", exclusive=True)
    async def action_reflect(self) -> None:
        await self.editor.leave()
        if await self.finder.reflect():
            self._show_finder()
            self.finder.focus_found()

    def _show_finder(self) -> None:
        self.notice.clear()
        self.remove_class("-list")
        self._from_finder = False
        self.switcher.current = "finder"

    def action_field(self) -> None:
        self.remove_class("-list")
        self.set_focus(self.field)  # at once; focus() would wait behind keys already pressed

    def action_list(self) -> None:
        """Go to the list; if it lies over the content, close it again."""
        if self.has_class("-narrow") and self.has_class("-list"):
            self.remove_class("-list")
            self._focus_page()
            return
        self.add_class("-list")
        self.entry_list.options.focus()

    def _focus_page(self) -> None:
        self.editor.area.focus() if self.shown == "editor" else self.finder.focus_found()

    def action_back(self) -> None:
        """To the finder that the entry was opened from; else stop the job; else to the editor; else to the list."""
        if self.shown == "editor" and self._from_finder:
            self.switcher.current = "finder"
            self.finder.focus_found()
        elif self.finder.following is not None:
            self.finder.stop()
        elif self._from_finder:
            self._from_finder = False
            self.switcher.current = "editor"
            self.action_list()
        elif self.shown != "editor":
            self.switcher.current = "editor"
            self.field.focus()
        elif self.field.has_focus and self.field.value:
            self.field.clear()
        else:
            self.action_list()
