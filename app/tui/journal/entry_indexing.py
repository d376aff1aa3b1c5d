"""Submits saved entries for indexing, once for each revision."""

from __future__ import annotations

from asyncio import to_thread

from app.client import Client
from core.library.records import Entry, EntryState


class EntryIndexing:
    def __init__(self) -> None:
        self._submitted: dict[str, int] = {}

    def wants(self, entry: Entry | None) -> bool:
        if entry is None or entry.state is not EntryState.SAVED or not entry.text.strip():
            return False
        return self._submitted.get(entry.id) != entry.revision

    async def submit(self, client: Client, entry: Entry | None) -> None:
        """Raises the errors of the client; a repeated call then tries again."""
        if entry is None or not self.wants(entry):
            return
        self._submitted[entry.id] = entry.revision
        try:
            await to_thread(client.ingest, entry)
        except BaseException:
            del self._submitted[entry.id]
            raise
