"""Fills the list of entries from the journal, a part at a time, and keeps it up to date."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable, Iterable

from app.tui.host import host
from app.tui.journal.entry_list import EntryList
from app.tui.shared.coalesced import Coalesced
from app.tui.shared.notice import Notice
from core.library.journal import PAGE_ENTRIES, Journal
from core.library.records import Entry


class EntryPages:
    """`refreshed` is called with each changed entry that was read again, `gone` with the id of each deleted one."""

    def __init__(
        self,
        entry_list: EntryList,
        notice: Notice,
        refreshed: Callable[[Entry], Awaitable[None]],
        gone: Callable[[str], Awaitable[None]],
    ) -> None:
        self._list = entry_list
        self._refreshed = refreshed
        self._gone = gone
        self._reload = False
        """Whether the whole list must be read again."""
        self._next: int | None = None
        """The position of the next older entry in the journal; None at the end."""
        self._changed: set[str] = set()
        self._reading = Coalesced(entry_list, self._read, notice.fail)
        self._refreshing = Coalesced(entry_list, self._refresh, notice.fail)

    @property
    def _journal(self) -> Journal:
        return host(self._list).client.journal

    def reload(self) -> None:
        """Read the newest entries again, as many as are shown, and give up a reading that is under way."""
        self._reload = True
        self._reading.request()

    def read_more(self) -> None:
        """Add older entries."""
        self._reading.request()

    def refresh(self, ids: Iterable[str]) -> None:
        """Update these entries. Readings follow each other, so that an older one is never shown last."""
        self._changed.update(ids)
        self._refreshing.request()

    def remove(self, id_: str) -> None:
        if self._list.remove_entry(id_) and self._next:
            self._next -= 1

    async def _read(self) -> None:
        reload, self._reload = self._reload, False
        start, count = (0, max(PAGE_ENTRIES, len(self._list.entries))) if reload else (self._next, PAGE_ENTRIES)
        if start is None:
            return
        changes, text = self._list.changes, self._list.sought
        entries, older = await to_thread(self._journal.read_entries, start, count, text, lambda: self._reload)
        if self._reload:
            return
        if not reload:
            self._list.add(entries, more=older is not None)
        elif changes == self._list.changes:
            self._list.show(entries, more=older is not None)
        else:  # the list has changed since, and this reading would undo that
            self.reload()
            return
        self._next = older

    async def _refresh(self) -> None:
        changed, self._changed = self._changed, set()
        entries = await to_thread(self._journal.entries_of, list(changed))
        for entry in entries:
            self._list.put(entry)
            await self._refreshed(entry)
        for id_ in changed - {entry.id for entry in entries}:
            self.remove(id_)
            await self._gone(id_)
