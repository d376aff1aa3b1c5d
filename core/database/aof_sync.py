"""Syncs the append-only file (AOF) to the disk before the program says "saved".

The server appends to the file before it answers, and with `appendfsync no` leaves the syncing to this module. With
`everysec` the server would answer before it has appended whenever a slow sync is under way.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from pathlib import Path

from core.database import RedisClient
from core.errors import DatabaseError

log = logging.getLogger(__name__)

SYNC_SECONDS = 1.0
"""Writes that nobody waits for are synced this often."""


def sync(file: Path, client: RedisClient) -> None:
    """Sync every write that the server has answered. Raises DatabaseError when that fails."""
    if client.info("persistence").get("aof_last_write_status") != "ok":
        raise DatabaseError(
            "Nothing can be saved now: the database cannot write its file.",
            "Make room on the disk and try again; what was saved is still there.",
        )
    try:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    except OSError as error:
        raise DatabaseError(
            f"Nothing can be saved now: {file} cannot be written ({error.strerror}).", "Try again in a moment."
        ) from error


class HeldFile:
    """Holds the append-only file open: syncs it once a second, and keeps its content when the folder is removed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._held = file.open("rb")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sync, name="sync", daemon=True)
        self._thread.start()

    @property
    def removed(self) -> bool:
        return not self._file.exists()

    def write_back(self) -> None:
        """Write a removed file again. The server must not be running. Raises OSError."""
        with self._lock, self._file.open("xb") as new:
            self._held.seek(0)
            shutil.copyfileobj(self._held, new)
            new.flush()
            os.fsync(new.fileno())
            self._hold()

    def close(self) -> None:
        """Sync once more and close the file."""
        self._ended.set()
        self._thread.join()
        os.fsync(self._held.fileno())
        self._held.close()

    def _sync(self) -> None:
        synced = -1
        while not self._ended.wait(SYNC_SECONDS):
            with self._lock:
                try:
                    if not self.removed and not os.path.samestat(self._file.stat(), os.fstat(self._held.fileno())):
                        self._hold()
                    size = os.fstat(self._held.fileno()).st_size
                    if size != synced:
                        os.fsync(self._held.fileno())
                        synced = size
                except OSError as error:
                    log.warning("The database file could not be synced. %s", error)

    def _hold(self) -> None:
        """Open the file again: a rewrite by the server replaces it. Its new name is brought to the disk too."""
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._held.close()
        self._held = self._file.open("rb")
