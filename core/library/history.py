"""The texts that were replaced: of entries, and of titles and replies of conversations."""

from __future__ import annotations

import time
from typing import Any

from core.database import RedisClient, keys
from core.errors import NotFoundError
from core.library.records import Entry, Revision, RevisionKind, decode, encode
from core.text import new_id

KEPT_REVISIONS = 20
KEPT_SECONDS = 30 * 24 * 3600
SAME_SITTING = 300.0
"""Seconds. Of the texts that one editor saves while a person types, about one in so long is kept."""
SHRINK = 100
"""A text that is shorter by so many characters always leaves the longer one as a revision."""


def keep(
    pipe: Any, subject: str, kind: RevisionKind, text: str, at: float, message: str = "", reasoning: str = ""
) -> None:
    """Keep a replaced text of an entry or conversation, with the caller's pipeline."""
    revision = Revision(new_id(), kind, text, at, time.time(), message, reasoning)
    pipe.lpush(keys.revisions(subject), encode(revision))
    pipe.ltrim(keys.revisions(subject), 0, KEPT_REVISIONS - 1)


def worth_keeping(old: Entry, text: str, writer: str, kept: Revision | None) -> bool:
    """Whether the replaced text of an entry becomes a revision. `kept` is the latest one."""
    if not old.text.strip():
        return False
    if kept is None or abs(time.time() - kept.replaced) >= SAME_SITTING:
        return True
    if kept.text == old.text:
        return False
    return not writer or writer != old.writer or len(old.text) - len(text) >= SHRINK


class History:
    """Reads revisions. `redis` must decode responses."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    def revisions(self, subject: str) -> list[Revision]:
        """The kept revisions of an entry or conversation, newest first."""
        found = [decode(Revision, text) for text in self._redis.lrange(keys.revisions(subject), 0, -1)]
        return [revision for revision in found if time.time() - revision.replaced < KEPT_SECONDS]

    def revision(self, subject: str, id_: str) -> Revision:
        """Raises NotFoundError."""
        for revision in self.revisions(subject):
            if revision.id == id_:
                return revision
        raise NotFoundError(f"There is no revision {id_!r}.", "`history` without a revision lists them.")

    def forget_old(self) -> int:
        """Remove the revisions that are older than 30 days; returns their number."""
        removed = 0
        for key in self._redis.scan_iter(match=keys.revisions("*"), count=1_000):
            for text in self._redis.lrange(key, 0, -1):
                if time.time() - decode(Revision, text).replaced >= KEPT_SECONDS:
                    removed += int(self._redis.lrem(key, 0, text))
        if removed:
            self._redis.incr(keys.UNREMOVED)
        return removed
