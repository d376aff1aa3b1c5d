"""Writes drafts to files while a person types."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from textual.widget import Widget

from app.tui.host import host
from app.tui.shared.coalesced import Coalesced

if TYPE_CHECKING:
    from core.library.drafts import Draft

DRAFT_SECONDS = 0.2
"""From a key to the file. A process that is killed loses what was typed within this time."""


class DraftWriter:
    """The drafts of one widget, which calls `write` when it ends."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._unwritten: dict[str, Draft] = {}
        self._lock = threading.Lock()
        """Held while drafts are written, so that an earlier text does not replace a later one."""
        self._writing = Coalesced(widget, self._write_soon, lambda _: None)

    def put(self, place: str, text: str, base: int = 0) -> None:
        """Write a draft soon; without text, it is removed. `base` is the revision that it changes."""
        from core.library.drafts import Draft  # the first screen does not wait for it

        self._unwritten[place] = Draft(place, text, base)
        self._writing.request()

    async def take(self, place: str) -> str:
        """The draft that an ended process left."""
        draft = await asyncio.to_thread(host(self._widget).client.drafts.take, place)
        return draft.text if draft else ""

    async def write(self) -> None:
        """Write what is not written yet."""
        await asyncio.to_thread(self._write)

    async def _write_soon(self) -> None:
        await asyncio.sleep(DRAFT_SECONDS)
        await self.write()

    def _write(self) -> None:
        with self._lock:
            while self._unwritten:
                host(self._widget).client.drafts.put(self._unwritten.popitem()[1])
