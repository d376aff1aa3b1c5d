"""Rewrites the database file without the texts that left the trash. The server appends; only a rewrite removes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from core.database import RedisClient, keys

log = logging.getLogger(__name__)

POLL_SECONDS = 0.02
UNFINISHED = "temp-*.aof"
"""The names of files that a killed rewrite leaves behind. They may hold texts that were removed since."""


def unremoved(redis: RedisClient) -> int:
    """The number of removals that the database file still holds."""
    return int(redis.get(keys.UNREMOVED) or 0)


def rewrite(redis: RedisClient, limit: float, stop: Callable[[], bool] = lambda: False) -> bool:
    """Rewrite the file if it holds removed texts; False if that failed, was stopped or took over `limit` seconds.

    The server replaces the file in one step, so a failure leaves the old one whole; it is then tried again later. The
    caller syncs the new file: of the writes during the rewrite, the server leaves that to us.
    """
    asked = redis.get(keys.UNREMOVED)
    if not asked:
        return True
    deadline = time.monotonic() + limit

    def waited() -> bool:
        while (state := redis.info("persistence"))["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]:
            if stop() or time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    if not waited():  # for one that the server began before the last removal
        return False
    redis.bgrewriteaof()
    if not waited():
        return False
    if redis.info("persistence")["aof_last_bgrewrite_status"] != "ok":
        log.warning("The database file could not be rewritten; deleted texts are still in it.")
        return False
    _note_done(redis, asked)
    return True


def remove_unfinished(folder: Path) -> None:
    """Remove what killed rewrites left. No server may run."""
    for path in folder.glob(UNFINISHED):
        path.unlink(missing_ok=True)


def _note_done(redis: RedisClient, asked: str) -> None:
    """Forget the removals, unless more have come during the rewrite."""

    def forget(pipe: RedisClient) -> None:
        now = pipe.get(keys.UNREMOVED)
        pipe.multi()
        if now == asked:
            pipe.delete(keys.UNREMOVED)

    redis.transaction(forget, keys.UNREMOVED)
