"""The trash: deleted entries and conversations, whole, for 30 days."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.database import keys
from core.database.store import Store
from core.errors import NotFoundError
from core.library.records import Conversation, Entry, decode

KEPT_SECONDS = 30 * 24 * 3600


class TrashKind(StrEnum):
    ENTRY = "entry"
    CONVERSATION = "conversation"


@dataclass(frozen=True, slots=True)
class TrashItem:
    """A deleted record; `deleted` is the time of that in seconds."""

    id: str
    kind: TrashKind
    title: str
    deleted: float


def move_to_trash(pipe: Any, id_: str, *stored: str) -> None:
    """Move the values under the existing keys `stored` to the trash, with the caller's pipeline."""
    for key in stored:
        pipe.rename(key, keys.trashed(key))
    pipe.zadd(keys.TRASH, {id_: time.time()})


def take_from_trash(pipe: Any, id_: str, *stored: str) -> None:
    """Undo `move_to_trash`. The keys must be unused."""
    for key in stored:
        pipe.rename(keys.trashed(key), key)
    pipe.zrem(keys.TRASH, id_)


class Trash(Store):
    """Lists what was deleted, and removes it for good."""

    def items(self) -> list[TrashItem]:
        """The latest deleted first."""
        found = self.redis.zrevrange(keys.TRASH, 0, -1, withscores=True)
        return [item for id_, at in found if (item := self._item(id_, float(at))) is not None]

    def item(self, id_: str) -> TrashItem:
        """Raises NotFoundError."""
        at = self.redis.zscore(keys.TRASH, id_)
        if at is None or (item := self._item(id_, float(at))) is None:
            raise NotFoundError(f"The trash holds no {id_!r}.", "`charlie trash list` shows what it holds.")
        return item

    def expired(self) -> list[str]:
        """The ids of what was deleted more than 30 days ago."""
        ids: list[str] = self.redis.zrangebyscore(keys.TRASH, 0, time.time() - KEPT_SECONDS)
        return ids

    def texts(self, id_: str) -> list[str]:
        """Every text and title of a deleted record and of its revisions, to find what quotes it."""
        stored = self.redis.mget(keys.trashed(keys.entry(id_)), keys.trashed(keys.conversation(id_)))
        stored += self.redis.hvals(keys.trashed(keys.messages(id_)))
        stored += self.redis.lrange(keys.revisions(id_), 0, -1)
        records = [json.loads(text) for text in stored if text]
        names = ("text", "title", "suggested_title", "reasoning")
        return [record[name] for record in records for name in names if record.get(name)]

    def purge(self, ids: Sequence[str]) -> int:
        """Remove deleted records with their revisions for good, but for those that were brought back since.

        Returns their number. The database file holds them until it is rewritten; see core/database/rewrite.py.
        """

        def remove(pipe: Any) -> int:
            held = set(pipe.zrange(keys.TRASH, 0, -1)).intersection(ids)
            indexes = pipe.smembers(keys.INDEXES)
            pipe.multi()
            for id_ in held:
                stored = (keys.entry(id_), keys.conversation(id_), keys.messages(id_))
                pipe.delete(*(keys.trashed(key) for key in stored), keys.revisions(id_))
                for index in indexes:  # a worker that was killed may have left chunks
                    pipe.hdel(index, id_)
                pipe.zrem(keys.TRASH, id_)
                pipe.zadd(keys.PURGED, {id_: time.time()})
            if held:
                pipe.incr(keys.UNREMOVED)
            return len(held)

        return self._commit(remove, keys.TRASH)

    def purged(self) -> list[str]:
        """The ids of what left the trash, which backups may still hold; not of what was imported again."""
        ids: list[str] = self.redis.zrange(keys.PURGED, 0, -1)
        with self.redis.pipeline(transaction=False) as pipe:
            for id_ in ids:
                pipe.exists(keys.entry(id_), keys.conversation(id_))
            return [id_ for id_, live in zip(ids, pipe.execute(), strict=True) if not live]

    def forget_purged(self, ids: Collection[str]) -> None:
        """Forget ids that no backup holds any more."""
        if ids:
            self.redis.zrem(keys.PURGED, *ids)

    def _item(self, id_: str, at: float) -> TrashItem | None:
        if found := self.redis.get(keys.trashed(keys.entry(id_))):
            return TrashItem(id_, TrashKind.ENTRY, decode(Entry, found).title, at)
        if found := self.redis.get(keys.trashed(keys.conversation(id_))):
            return TrashItem(id_, TrashKind.CONVERSATION, decode(Conversation, found).title, at)
        return None
