"""Removes what is due to be removed, and makes the daily backup: while Charlie is idle, and when it ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import redis

from app.client import Client
from core.database import keys
from core.database.aof_sync import sync
from core.database.rewrite import rewrite, unremoved
from core.database.schema import SCHEMA, migrate, stored_version
from core.database.server import APPEND_ONLY
from core.errors import CancelledError, CharlieError
from core.library.backups import BEFORE_SCHEMA, Backups, today

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
REWRITE_SECONDS = 600.0
HURRIED_SECONDS = 1.0
"""After a signal, nothing is left within two seconds; the rest is done at the next start."""
SILENT_SECONDS = 1.0
FAILURES = (CharlieError, redis.RedisError, OSError)
NOTE = "Removing deleted texts from the disk and making today's backup; Ctrl+C leaves it to the next start."


def adopt(client: Client) -> Upkeep:
    """Migrate older data after a copy, and begin their upkeep."""
    backups = Backups(client.paths.backups)
    try:
        if stored_version(client.redis) < SCHEMA:
            from core.programs.in_use import forget_starters

            forget_starters(client.paths)
        migrate(client.redis, lambda: backups.make(client, f"{BEFORE_SCHEMA}{SCHEMA}-{today()}"))
    except CharlieError as error:  # as on a full disk; this version reads the older data as they are
        log.warning("The data are migrated at a later start: no copy could be made. %s", error)
    return Upkeep(client)


class Upkeep:
    """Looks every 30 seconds, on a thread of its own, whether nothing is queued or runs and something is due."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._backups = Backups(client.paths.backups)
        self._ended = threading.Event()
        self._reported = ""
        self._thread = threading.Thread(target=self._watch, name="upkeep", daemon=True)
        self._thread.start()

    def finish(self, note: Callable[[str], None] | None, began: float) -> None:
        """End the thread and do what is due; called with the worker ended. A failure is only logged.

        Without `note`, only the database file is rewritten, within a second after `began`.
        """
        self._ended.set()
        hurried = HURRIED_SECONDS - (time.monotonic() - began)
        self._thread.join(None if note else max(hurried, 0.0))
        if self._thread.is_alive():
            return
        self._ended.clear()
        if note is None:
            self._try(lambda: self._rewrite(hurried) if hurried > 0 else None)
            return
        late = threading.Timer(SILENT_SECONDS, note, (NOTE,))
        late.start()
        try:
            self._try(self._do_due)
        finally:
            late.cancel()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._try(lambda: self._do_due() if self._client.depth() == (0, None) else None)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except CancelledError:
            return
        except FAILURES as error:
            if str(error) != self._reported:
                log.warning("Deleted texts are still on the disk, or today's backup is missing. %s", error)
            self._reported = str(error)

    def _do_due(self) -> None:
        from app.purge import purge  # it and what it imports are megabytes that a short start does not need

        client = self._client
        purge(client, client.trash.expired())
        if new_day := client.redis.get(keys.UPKEEP) != (day := today()):
            client.history.forget_old()
        self._rewrite(REWRITE_SECONDS)
        if client.settings.backup.daily and day not in self._backups.names():
            self._backups.make(client, day, self._stop_when_ended)
        if new_day:
            if purged := client.trash.purged():
                held = {id_ for name in self._backups.names() for id_ in self._backups.ids(name)}
                client.trash.forget_purged(set(purged) - held)
            client.redis.set(keys.UPKEEP, day)

    def _rewrite(self, limit: float) -> None:
        client = self._client
        if not unremoved(client.redis):
            return
        client.jobs.forget_ended()  # those that ran during the purge; the thread looks only when none runs
        url = client.settings.database.url
        if rewrite(client.redis, limit, self._ended.is_set) and url is None:
            sync(client.paths.database / APPEND_ONLY, client.redis)

    def _stop_when_ended(self, _done: int, _total: int) -> None:
        if self._ended.is_set():
            raise CancelledError
