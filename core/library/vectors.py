"""The journal's index: the stored vectors of indexed entries, and the nearest ones to a query."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import simsimd
from numpy.typing import NDArray

from core.database import keys
from core.database.connection import RedisClient
from core.library.journal import Journal
from core.library.records import batches

Vectors = NDArray[np.float32]
LARGEST = 127
"""Of int8."""
BATCH_ENTRIES = 1_000
"""Entries read from the database at a time."""
LEAST_ROWS = 1_000
GROWTH = 1.5
"""A full matrix grows by this factor. Rows that are not filled yet take no memory."""
REFINED = 50
"""So many entries more than are wanted are compared with the query itself; the others only with its int8 form."""


class Quantized(NamedTuple):
    """Vectors in int8 (passages × dimension), and the float32 scale of each: a quarter of their size in float32."""

    codes: NDArray[np.int8]
    scales: Vectors

    @classmethod
    def of(cls, vectors: Vectors) -> Quantized:
        scales = np.abs(vectors).max(axis=1, initial=0) / np.float32(LARGEST)
        scales[scales == 0] = 1
        return cls(np.rint(vectors / scales[:, None]).astype(np.int8), scales)

    @classmethod
    def read(cls, record: bytes, dimension: int) -> Quantized:
        """A stored record, also one of float32 as earlier versions wrote them."""
        if is_float(record):
            return cls.of(np.frombuffer(record, "<f4").reshape(-1, dimension))
        count = len(record) // (dimension + 4)
        codes = np.frombuffer(record, np.int8, count * dimension).reshape(count, dimension)
        return cls(codes, np.frombuffer(record, "<f4", count, count * dimension))

    def record(self) -> bytes:
        """Codes, scales and a padding to one byte more than whole float32 numbers, which tells it from those."""
        padding = bytes((1 - self.codes.size) % 4) if len(self.codes) else b""
        return self.codes.tobytes() + self.scales.astype("<f4").tobytes() + padding

    def vectors(self) -> Vectors:
        return self.codes * self.scales[:, None]


def is_float(record: bytes) -> bool:
    """Whether a stored record is one of an earlier version, which are float32."""
    return len(record) % 4 == 0


def stored_vectors(record: bytes, dimension: int) -> Vectors:
    """The vectors of a stored record (passages × dimension)."""
    return Quantized.read(record, dimension).vectors()


class Nearest(NamedTuple):
    """The similarities of all passages of the nearest entries, nearest first; mean and deviation over all entries."""

    entries: dict[str, Vectors]
    mean: float
    deviation: float


class Rows:
    """The vectors of entries as rows of one matrix. Adding an entry rarely copies the matrix."""

    def __init__(self, dimension: int) -> None:
        self._matrix = np.empty((LEAST_ROWS, dimension), np.int8)
        self._scales = np.empty(LEAST_ROWS, np.float32)
        self._used = 0
        """Filled rows, in the order of `put`."""
        self._names: list[str] = []
        """The entries with rows. Rows of removed entries stay until there are too many of them."""
        self._starts = np.empty(LEAST_ROWS, np.intp)
        """The first row of each entry in `_names`."""
        self._gone = np.empty(LEAST_ROWS, np.bool_)
        self._stale = 0
        """Rows of removed entries."""
        self._places: dict[str, int | None] = {}
        """The place of each entry in `_names`; None for an entry without rows."""

    def __contains__(self, entry: str) -> bool:
        return entry in self._places

    def entries(self) -> set[str]:
        return set(self._places)

    def put(self, entry: str, vectors: Quantized) -> None:
        """Add an entry, or replace its rows."""
        self.remove(entry)
        self._places[entry] = None
        if not len(vectors.codes):
            return
        end, number = self._used + len(vectors.codes), len(self._names)
        if end > len(self._matrix):
            self._matrix = larger(self._matrix, self._used, end)
            self._scales = larger(self._scales, self._used, end)
        if number == len(self._starts):
            self._starts = larger(self._starts, number, number + 1)
            self._gone = larger(self._gone, number, number + 1)
        self._matrix[self._used : end], self._scales[self._used : end] = vectors
        self._starts[number], self._gone[number] = self._used, False
        self._names.append(entry)
        self._places[entry] = number
        self._used = end

    def remove(self, entry: str) -> None:
        place = self._places.pop(entry, None)
        if place is None:
            return
        self._gone[place] = True
        self._stale += self._end(place) - int(self._starts[place])
        if self._stale > max(LEAST_ROWS, self._used // 2):
            self._pack()

    def nearest(
        self, query: Vectors, count: int, among: Collection[str] | None = None, also: Iterable[str] = ()
    ) -> Nearest:
        """The `count` nearest entries, all of them or those `among`, and the entries `also`."""
        if not self._names:
            return Nearest({}, 0.0, 1.0)
        best = np.maximum.reduceat(self._similarities(query), self._starts[: len(self._names)])
        held = ~self._gone[: len(self._names)]
        of_all = best[held]
        mean, deviation = (float(of_all.mean()), float(of_all.std())) if len(of_all) else (0.0, 0.0)
        if among is not None:
            wanted = np.zeros(len(best), np.bool_)
            wanted[[place for name in among if (place := self._places.get(name)) is not None]] = True
            held &= wanted
        best[~held] = -np.inf
        near = [place for place in largest(best, count + REFINED) if held[place]]
        others = [place for name in also if (place := self._places.get(name)) is not None]
        rows = {place: self._refined(place, query) for place in {*near, *others}}
        near = sorted(near, key=lambda place: -rows[place].max())[:count]
        return Nearest({self._names[place]: rows[place] for place in [*near, *others]}, mean, deviation)

    def _similarities(self, query: Vectors) -> Vectors:
        """Of all rows to the query's int8 form."""
        asked = Quantized.of(query[None])
        products = simsimd.cdist(asked.codes, self._matrix[: self._used], "dot", threads=0, out_dtype="f32")
        similarities: Vectors = np.asarray(products)[0] * self._scales[: self._used]
        similarities *= asked.scales
        return similarities

    def _refined(self, place: int, query: Vectors) -> Vectors:
        """The similarities of an entry's rows to the query itself."""
        rows = slice(int(self._starts[place]), self._end(place))
        similarities: Vectors = self._matrix[rows].astype(np.float32) @ query * self._scales[rows]
        return similarities

    def _end(self, place: int) -> int:
        return int(self._starts[place + 1]) if place + 1 < len(self._names) else self._used

    def _pack(self) -> None:
        """Remove the rows of removed entries."""
        count = len(self._names)
        held = ~self._gone[:count]
        lengths = np.diff(self._starts[:count], append=self._used)
        rows = np.flatnonzero(np.repeat(held, lengths))
        self._names = [name for name, stays in zip(self._names, held, strict=True) if stays]
        self._places |= {name: place for place, name in enumerate(self._names)}
        self._starts[: len(self._names)] = np.cumsum(lengths[held]) - lengths[held]
        self._gone[: len(self._names)] = False
        self._matrix[: len(rows)], self._scales[: len(rows)] = self._matrix[rows], self._scales[rows]
        self._used, self._stale = len(rows), 0


class VectorStore:
    """The vectors of one embedding model. The worker is their only writer, so it keeps them in memory as well.

    `redis` must not decode. Vectors are of length 1, and stored per entry in int8 (`Quantized`).
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
        for batch in batches(stored, BATCH_ENTRIES):
            values = zip(batch, redis.hmget(self._vectors_key, batch), strict=True)
            records = {key: value for key, value in values if value is not None}  # None: deleted a moment ago
            read = {key: Quantized.read(value, dimension) for key, value in records.items()}
            for key, vectors in read.items():
                self.rows.put(key, vectors)
            if older := {key: read[key].record() for key, value in records.items() if value and is_float(value)}:
                redis.hset(self._vectors_key, mapping=older)

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
        quantized = {entry: Quantized.of(vectors) for entry, vectors in entries.items()}
        with self._redis.pipeline(transaction=True) as pipe:
            for entry, vectors in quantized.items():
                pipe.hset(self._vectors_key, entry, vectors.record())
            pipe.sadd(keys.INDEXES, self._vectors_key)
            pipe.execute()
        for entry, vectors in quantized.items():
            self.rows.put(entry, vectors)
            self._missing.pop(entry, None)

    def forget(self, entries: Iterable[str]) -> None:
        """Remove the vectors of entries."""
        for batch in batches(list(entries), BATCH_ENTRIES):
            self._redis.hdel(self._vectors_key, *batch)
            for entry in batch:
                self.rows.remove(entry)


def larger(array: NDArray[Any], used: int, least: int) -> NDArray[Any]:
    """A copy of the first `used` rows, with room for at least `least`."""
    larger = np.empty((max(least, int(len(array) * GROWTH)), *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger


def largest(values: NDArray[np.float32], count: int) -> list[int]:
    """The indices of the largest values, the largest first."""
    if count < len(values):
        top = np.argpartition(values, -count)[-count:]
        return [int(row) for row in top[np.argsort(-values[top])]]
    return [int(row) for row in np.argsort(-values)]
