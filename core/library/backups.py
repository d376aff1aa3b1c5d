"""The daily backups: exports of the whole library, in one folder for each day."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from core.errors import CharlieError
from core.figures import local_time
from core.library.backup_export import Exported, export_library, export_records
from core.library.backup_format import LIBRARY_FILE, ConversationRecord, Library, Progress
from core.library.backup_import import read_export
from core.library.records import Entry

log = logging.getLogger(__name__)

DAILY: Final = re.compile(r"\d{4}-\d\d-\d\d")
BEFORE_SCHEMA: Final = "before-schema-"
NAME: Final = re.compile(rf"(?:{BEFORE_SCHEMA}\d+-)?{DAILY.pattern}")
KEPT_DAYS, KEPT_MONTHS = 7, 12
"""The last backups that are kept, and the months of which the last one is kept."""
RECORD: Final = re.compile(rb'\{(?:"conversation": \{)?"id": "([^"]+)"')
"""Begins the line of each record in `library.json`."""


def today() -> str:
    """The name of today's backup."""
    return local_time(time.time(), "%Y-%m-%d")


class Backups:
    """The backups in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """The complete backups, the oldest first."""
        found = (path.parent.name for path in self._folder.glob(f"*/{LIBRARY_FILE}"))
        return sorted((name for name in found if NAME.fullmatch(name)), key=lambda name: name[-10:])

    def path(self, name: str) -> Path:
        """The folder of a complete backup. Raises CharlieError when there is none."""
        if name not in self.names():
            raise CharlieError(f"There is no backup {name!r}.", "`charlie backup list` shows them.")
        return self._folder / name

    def make(self, library: Library, name: str, on_progress: Progress = lambda _done, _total: None) -> Exported | None:
        """Make or update a backup, then remove old ones; None for an empty library.

        A failure leaves the other backups as they are, and no unfinished one. Raises CharlieError.
        """
        if not (library.journal.entry_ids() or library.conversations.conversations()):
            return None
        folder = self._folder / name
        try:
            done = export_library(library, folder, on_progress, markdown=False)
        except BaseException:
            if name not in self.names():
                shutil.rmtree(folder, ignore_errors=True)
            raise
        self._remove_old()
        return done

    def ids(self, name: str) -> set[str]:
        """The records that a backup holds."""
        with (self._folder / name / LIBRARY_FILE).open("rb") as file:
            return {record[1].decode() for line in file if (record := RECORD.match(line))}

    def holding(self, ids: Collection[str]) -> tuple[str, ...]:
        """The backups that hold one of these records."""
        return tuple(name for name in self.names() if not self.ids(name).isdisjoint(ids)) if ids else ()

    def renew(self, without: Collection[str]) -> tuple[str, ...]:
        """Write each backup that holds one of these records again, without them. Raises CharlieError."""
        names = self.holding(without)
        for name in names:
            folder = self._folder / name
            # Each reads the old file to its end, which checks it, before the new one takes its place.
            conversations = (
                each
                for each in read_export(folder)
                if isinstance(each, ConversationRecord) and each.conversation.id not in without
            )
            entries = (each for each in read_export(folder) if isinstance(each, Entry) and each.id not in without)
            export_records(conversations, entries, folder, markdown=False)
        return names

    def _remove_old(self) -> None:
        """Remove all but the last backups and the last of each month, and what killed processes left unfinished."""
        daily = [name for name in self.names() if DAILY.fullmatch(name)]
        by_month = {name[:7]: name for name in daily}
        kept = {*daily[-KEPT_DAYS:], *list(by_month.values())[-KEPT_MONTHS:], today()}
        for path in self._folder.iterdir():
            if DAILY.fullmatch(path.name) and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
