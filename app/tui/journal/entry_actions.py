"""What a person does with a whole entry: delete, bring back, compare with earlier texts, index again, skip."""

from __future__ import annotations

import asyncio
from asyncio import to_thread

from textual.screen import Screen

from app.client import Client
from app.library_changes import bring_back, delete_entry, set_mood, write_entry
from app.tui.host import host
from app.tui.journal.entry_draft import PLACE
from app.tui.journal.entry_editor import EntryEditor
from app.tui.journal.entry_list import EntryList
from app.tui.journal.entry_pages import EntryPages
from app.tui.library.history import HistoryScreen
from app.tui.shared.dialogs import ChoiceDialog, ConfirmDialog
from app.tui.shared.notice import Notice
from core.library.records import Entry, EntryState
from core.programs.feelings import MOODS
from core.text import new_id, one_line


class EntryActions:
    """Each method runs in a worker of the screen."""

    def __init__(self, screen: Screen[None], editor: EntryEditor, entries: EntryList, notice: Notice) -> None:
        self._screen = screen
        self._editor = editor
        self._list = entries
        self._notice = notice
        self._deleted: list[str] = []
        """The ids of entries that were deleted here, which can be undone."""
        self.changing = asyncio.Lock()
        """Held while another entry is opened, so that no two openings mix."""
        self.pages = EntryPages(entries, notice, self._follow, self._close)

    @property
    def _client(self) -> Client:
        return host(self._screen).client

    async def carry_out(self, what: str, entry: Entry) -> None:
        with self._notice.failures():
            match what:
                case "delete":
                    await self._delete(entry)
                case "retry":
                    await self._retry(entry)
                case "skip":
                    await self._skip(entry)
                case "history":
                    await self.show_history(entry.id)
                case "mood":
                    mood = await self._screen.app.push_screen_wait(
                        ChoiceDialog(f"What was the mood of “{one_line(entry.title, 40)}”?", MOODS, entry.mood)
                    )
                    if mood is not None:
                        await to_thread(set_mood, self._client, entry.id, mood)

    async def _delete(self, entry: Entry) -> None:
        title = one_line(entry.title, 40)
        question = f"Delete “{title}”? It stays in the trash for 30 days."
        if not await self._screen.app.push_screen_wait(ConfirmDialog(question, "Delete")):
            return
        async with self.changing:
            if self._editor.entry_id == entry.id and not await self._editor.save():
                return
            await to_thread(delete_entry, self._client, entry.id)
            self._deleted.append(entry.id)
            if self._editor.entry_id == entry.id:
                self._editor.discard()
                self._list.mark_open(None)
            self.pages.remove(entry.id)
            self._notice.say(f"“{title}” is in the trash. u brings it back, t shows the trash.")

    async def undo(self) -> None:
        """Bring back the last entry that was deleted here."""
        if not self._deleted:
            self._notice.say("Nothing was deleted since the start. t shows the trash.")
            return
        with self._notice.failures():
            id_ = self._deleted.pop()
            item = await to_thread(self._client.trash.item, id_)
            await to_thread(bring_back, self._client, item)
            self._list.put(await to_thread(self._client.journal.entry, id_))
            self._list.highlight(id_)
            self._notice.say(f"“{one_line(item.title, 40)}” is back.")

    async def show_history(self, id_: str) -> None:
        """Show the earlier texts of an entry, and bring back the chosen one."""
        if self._editor.entry_id == id_:
            await self._editor.save()
        with self._notice.failures():
            revisions = await to_thread(self._client.history.revisions, id_)
            entry = await to_thread(self._client.journal.entry, id_)
            if not revisions:
                self._notice.say("No earlier text of this entry is kept.")
                return
            screen = HistoryScreen(entry.title, revisions, lambda _: entry.text)
            if (chosen := await self._screen.app.push_screen_wait(screen)) is None:
                return
            async with self.changing:
                # A writer of its own, so that the present text is kept.
                entry = await to_thread(write_entry, self._client, id_, chosen.text, entry.revision, new_id())
                await self._editor.follow(entry, "Brought back. ^G shows the text before.")
            if self._editor.entry_id != id_:
                await to_thread(self._client.ingest, entry)
                self._notice.say("Brought back. h shows the text before.")

    async def _retry(self, entry: Entry) -> None:
        """Index an entry again."""
        if entry.state is EntryState.INDEXING:
            return
        await to_thread(self._client.ingest, entry)
        if self._editor.entry_id == entry.id:
            self._editor.notice.clear()
        self._notice.say("Waiting to be indexed.")

    async def _skip(self, entry: Entry) -> None:
        """Keep an entry without indexing it."""
        if entry.state is not EntryState.FAILED:
            self._notice.say("Only entries that failed to index can be skipped; d deletes.")
            return
        await to_thread(self._client.skip, entry)
        self.pages.refresh([entry.id])
        self._notice.say("Skipped: saved but not searchable; r indexes it.")

    async def restore(self) -> None:
        """Open or save the texts that were not saved when a process ended."""
        with self._notice.failures():
            for place in sorted(await to_thread(self._client.drafts.places)):
                if place.startswith(PLACE):
                    async with self.changing:
                        await self._editor.restore(place.removeprefix(PLACE))
                        self._list.mark_open(self._editor.entry_id)

    async def _follow(self, entry: Entry) -> None:
        if self._editor.entry_id == entry.id:
            async with self.changing:
                await self._editor.follow(entry)

    async def _close(self, id_: str) -> None:
        if self._editor.entry_id != id_:
            return
        async with self.changing:
            await self._editor.close(id_)
            self._list.mark_open(self._editor.entry_id)
