"""The vectors of what can be found, as they are stored, and the nearest ones to a query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.library import INDEXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from core.database import RedisClient
    from core.library import Library

    Vectors = NDArray[np.float32]

PART = 1_000
"""Entries that are read from the database at a time."""
LEAST_ROWS = 1_000
GROWTH = 1.5
"""A matrix that is full moves to one of so many times its rows; what is not filled yet takes no memory."""


@dataclass(frozen=True, slots=True)
class Near:
    """A chunk of an entry, and the cosine of its angle to the query."""

    entry: str
    chunk: str
    similarity: float


class VectorStore:
    """The vectors of one embedding model. The worker is their only writer, so it keeps them in memory as well.

    `redis` must not decode. Vectors are float32 of length 1, stored per entry as chunks × dimension.
    """

    def __init__(self, redis: RedisClient, model_id: str, dimension: int) -> None:
        self._redis = redis
        self._vectors_key = f"charlie:vectors:{model_id}"
        self._chunks_key = f"charlie:chunks:{model_id}"
        self._rows = Rows(dimension)
        self._seen = ""
        """The position in the library's changes up to which they are known here."""
        self._missing: dict[str, None] = {}
        """Entries that exist and have no vectors, as of `_seen`."""
        keys = [key.decode() for key in redis.hkeys(self._vectors_key)]
        for part in _parts(keys):
            for key, value in zip(part, redis.hmget(self._vectors_key, part), strict=True):
                if value is not None:  # it was deleted a moment ago
                    self._rows.put(key, np.frombuffer(value, "<f4").reshape(-1, dimension))

    def follow(self, library: Library) -> list[str]:
        """Forget the entries that are gone; returns those that have no vectors. Costs what has changed since."""
        changed, seen = library.changes(self._seen)
        if changed is None:
            there = library.entry_ids()
            stored = {key.decode() for key in self._redis.hkeys(self._vectors_key)}
            self.forget(self._rows.entries() - (stored & set(there)))
            self._missing = dict.fromkeys(id_ for id_ in there if id_ not in self._rows)
        else:
            ids = list(dict.fromkeys(changed))
            with self._redis.pipeline(transaction=False) as pipe:
                for id_ in ids:
                    pipe.hexists(self._vectors_key, id_)
                stored = {id_ for id_, held in zip(ids, pipe.execute(), strict=True) if held}
            exist = {id_ for id_, exists in zip(ids, library.exist(ids), strict=True) if exists}
            # One that was deleted and brought back exists, and what was stored of it does not.
            self.forget(id_ for id_ in ids if id_ in self._rows and not (id_ in exist and id_ in stored))
            for id_ in ids:
                self._missing.pop(id_, None)
                if id_ in exist and id_ not in self._rows:
                    self._missing[id_] = None
        self._seen = seen
        return list(self._missing)

    def put(self, entries: Mapping[str, tuple[Sequence[str], Vectors]]) -> None:
        """Store the chunks of entries, in place of those they had, and their vectors (chunks × dimension)."""
        with self._redis.pipeline(transaction=True) as pipe:
            for entry, (chunks, vectors) in entries.items():
                pipe.hset(self._vectors_key, entry, vectors.astype("<f4").tobytes())
                pipe.hset(self._chunks_key, entry, json.dumps(list(chunks)))
            pipe.sadd(INDEXES, self._vectors_key, self._chunks_key)
            pipe.execute()
        for entry, (_, vectors) in entries.items():
            self._rows.put(entry, vectors)
            self._missing.pop(entry, None)

    def forget(self, entries: Iterable[str]) -> None:
        """Remove what is stored of entries."""
        for part in _parts(list(entries)):
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.hdel(self._vectors_key, *part)
                pipe.hdel(self._chunks_key, *part)
                pipe.execute()
            for entry in part:
                self._rows.remove(entry)

    def nearest(self, query: Vectors, count: int) -> list[Near]:
        """The nearest chunk of each of the `count` nearest entries, the nearest first."""
        found = self._rows.nearest(query, count)
        if not found:
            return []
        chunks = self._redis.hmget(self._chunks_key, [entry for entry, _, _ in found])
        return [
            Near(entry, json.loads(texts)[chunk], similarity)
            for (entry, chunk, similarity), texts in zip(found, chunks, strict=True)
            if texts is not None  # it was deleted a moment ago
        ]


class Rows:
    """The vectors of entries as the rows of one matrix, to which more can be added without copying it each time."""

    def __init__(self, dimension: int) -> None:
        self._matrix = np.empty((LEAST_ROWS, dimension), np.float32)
        self._used = 0
        """Rows that are filled, in the order in which entries were put."""
        self._names: list[str] = []
        """The entries with rows; those of one that was removed or replaced stay until there are too many of them."""
        self._starts = np.empty(LEAST_ROWS, np.intp)
        """The row where each begins."""
        self._gone = np.empty(LEAST_ROWS, np.bool_)
        self._left = 0
        """Rows of entries that are gone."""
        self._places: dict[str, int | None] = {}
        """Where in `_names` each entry is; None for one without rows."""

    def __contains__(self, entry: str) -> bool:
        return entry in self._places

    def entries(self) -> set[str]:
        return set(self._places)

    def put(self, entry: str, vectors: Vectors) -> None:
        """Add an entry, or replace its rows."""
        self.remove(entry)
        self._places[entry] = None
        if not len(vectors):
            return
        end, number = self._used + len(vectors), len(self._names)
        if end > len(self._matrix):
            self._matrix = _larger(self._matrix, self._used, end)
        if number == len(self._starts):
            self._starts = _larger(self._starts, number, number + 1)
            self._gone = _larger(self._gone, number, number + 1)
        self._matrix[self._used : end] = vectors
        self._starts[number], self._gone[number] = self._used, False
        self._names.append(entry)
        self._places[entry] = number
        self._used = end

    def remove(self, entry: str) -> None:
        place = self._places.pop(entry, None)
        if place is None:
            return
        self._gone[place] = True
        self._left += self._end(place) - int(self._starts[place])
        if self._left > max(LEAST_ROWS, self._used // 2):
            self._pack()

    def nearest(self, query: Vectors, count: int) -> list[tuple[str, int, float]]:
        """The `count` nearest entries, the nearest first: each with the number of its nearest row, and how near."""
        if not self._names:
            return []
        similarities = self._matrix[: self._used] @ query
        best = np.maximum.reduceat(similarities, self._starts[: len(self._names)])
        best[self._gone[: len(self._names)]] = -np.inf
        found: list[tuple[str, int, float]] = []
        for place in _largest(best, count):
            if not self._gone[place]:
                row = int(similarities[self._starts[place] : self._end(place)].argmax())
                found.append((self._names[place], row, float(best[place])))
        return found

    def _end(self, place: int) -> int:
        return int(self._starts[place + 1]) if place + 1 < len(self._names) else self._used

    def _pack(self) -> None:
        """Leave out the rows of what is gone."""
        count = len(self._names)
        held = ~self._gone[:count]
        lengths = np.diff(self._starts[:count], append=self._used)
        rows = self._matrix[: self._used][np.repeat(held, lengths)]
        self._names = [name for name, stays in zip(self._names, held, strict=True) if stays]
        self._places |= {name: place for place, name in enumerate(self._names)}
        self._starts[: len(self._names)] = np.cumsum(lengths[held]) - lengths[held]
        self._gone[: len(self._names)] = False
        self._matrix[: len(rows)] = rows
        self._used, self._left = len(rows), 0


def _larger(array: NDArray[Any], used: int, least: int) -> NDArray[Any]:
    """An array with room for `least` rows and some more, and the first `used` of this one."""
    larger = np.empty((max(least, int(len(array) * GROWTH)), *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + PART] for start in range(0, len(ids), PART))


def _largest(values: NDArray[np.float32], count: int) -> list[int]:
    """The indices of the largest values, the largest first."""
    if count < len(values):
        top = np.argpartition(values, -count)[-count:]
        return [int(row) for row in top[np.argsort(-values[top])]]
    return [int(row) for row in np.argsort(-values)]
