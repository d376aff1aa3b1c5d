"""The journal's index: the stored vectors of indexed entries, and the nearest ones to a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.database import keys
from core.library.vector_matrix import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from core.database.connection import RedisClient
    from core.library.journal import Journal

    Vectors = NDArray[np.float32]

BATCH_ENTRIES = 1_000
"""Entries read from the database at a time."""


class VectorStore:
    """The vectors of one embedding model. The worker is their only writer, so it keeps them in memory as well.

    `redis` must not decode. Vectors are float32 of length 1, stored per entry as passages × dimension.
    """

    def __init__(self, redis: RedisClient, model_id: str, dimension: int) -> None:
        self._redis = redis
        self._vectors_key = keys.vectors(model_id)
        self.rows = Rows(dimension)
        self._seen = ""
        """The position in the journal's changes up to which this index follows them."""
        self._missing: dict[str, None] = {}
        """Entries without vectors, as of `_seen`."""
        stored = [key.decode() for key in redis.hkeys(self._vectors_key)]
        for batch in _batches(stored):
            for key, value in zip(batch, redis.hmget(self._vectors_key, batch), strict=True):
                if value is not None:  # None: deleted a moment ago
                    self.rows.put(key, np.frombuffer(value, "<f4").reshape(-1, dimension))

    def forget_older(self) -> None:
        """Delete the vectors of the same file in an earlier format, or with another pooling: none reads them again."""
        file = self._vectors_key.rpartition(":")[0]
        stored = {key.decode() for key in self._redis.smembers(keys.INDEXES)}
        # Formats 1 and 2 had the texts of the passages beside the vectors.
        files = (file, file.replace(":vectors:", ":chunks:"))
        if older := [key for key in stored - {self._vectors_key} if key.rpartition(":")[0] in files]:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(*older)
                pipe.srem(keys.INDEXES, *older)
                pipe.execute()

    def follow(self, journal: Journal) -> list[str]:
        """Forget deleted entries; returns the entries without vectors. The cost grows with the changes alone."""
        changed, seen = journal.changes(self._seen)
        if changed is None:
            there = journal.entry_ids()
            stored = {key.decode() for key in self._redis.hkeys(self._vectors_key)}
            self.forget(self.rows.entries() - (stored & set(there)))
            self._missing = dict.fromkeys(id_ for id_ in there if id_ not in self.rows)
        else:
            ids = list(dict.fromkeys(changed))
            with self._redis.pipeline(transaction=False) as pipe:
                for id_ in ids:
                    pipe.hexists(self._vectors_key, id_)
                stored = {id_ for id_, held in zip(ids, pipe.execute(), strict=True) if held}
            exist = {id_ for id_, exists in zip(ids, journal.exist(ids), strict=True) if exists}
            # A deleted and restored entry exists, but its vectors do not.
            self.forget(id_ for id_ in ids if id_ in self.rows and not (id_ in exist and id_ in stored))
            for id_ in ids:
                self._missing.pop(id_, None)
                if id_ in exist and id_ not in self.rows:
                    self._missing[id_] = None
        self._seen = seen
        return list(self._missing)

    def put(self, entries: Mapping[str, Vectors]) -> None:
        """Store or replace the vectors of entries (passages × dimension)."""
        with self._redis.pipeline(transaction=True) as pipe:
            for entry, vectors in entries.items():
                pipe.hset(self._vectors_key, entry, vectors.astype("<f4").tobytes())
            pipe.sadd(keys.INDEXES, self._vectors_key)
            pipe.execute()
        for entry, vectors in entries.items():
            self.rows.put(entry, vectors)
            self._missing.pop(entry, None)

    def forget(self, entries: Iterable[str]) -> None:
        """Remove the vectors of entries."""
        for batch in _batches(list(entries)):
            self._redis.hdel(self._vectors_key, *batch)
            for entry in batch:
                self.rows.remove(entry)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + BATCH_ENTRIES] for start in range(0, len(ids), BATCH_ENTRIES))
