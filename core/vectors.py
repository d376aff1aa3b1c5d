"""The vectors of what can be found, as they are stored, and the nearest ones to a query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from core.library import INDEXES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from core.database import RedisClient

    Vectors = NDArray[np.float32]


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
        self._dimension = dimension
        self._vectors_key = f"charlie:vectors:{model_id}"
        self._chunks_key = f"charlie:chunks:{model_id}"
        stored = redis.hgetall(self._vectors_key)
        self._entries = {key.decode(): self._unpack(value) for key, value in stored.items()}
        self._matrix: Vectors | None = None
        self._names: list[str] = []
        self._starts: list[int] = []
        """The entries in the matrix, and the row where each begins."""

    def missing(self, entries: Sequence[str]) -> list[str]:
        return [entry for entry in entries if entry not in self._entries]

    def put(self, entry: str, chunks: Sequence[str], vectors: Vectors) -> None:
        """Store an entry's chunks, in place of those it had. `vectors` is chunks × dimension."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(self._vectors_key, entry, vectors.astype("<f4").tobytes())
            pipe.hset(self._chunks_key, entry, json.dumps(list(chunks)))
            pipe.sadd(INDEXES, self._vectors_key, self._chunks_key)
            pipe.execute()
        self._entries[entry] = vectors
        self._matrix = None

    def keep_only(self, entries: Collection[str]) -> None:
        """Forget entries that no longer exist."""
        gone = self._entries.keys() - set(entries)
        if not gone:
            return
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.hdel(self._vectors_key, *gone)
            pipe.hdel(self._chunks_key, *gone)
            pipe.execute()
        for entry in gone:
            del self._entries[entry]
        self._matrix = None

    def nearest(self, query: Vectors, count: int) -> list[Near]:
        """The nearest chunk of each of the `count` nearest entries, the nearest first."""
        matrix = self._built()
        if not len(matrix):
            return []
        similarities = matrix @ query
        best = np.maximum.reduceat(similarities, self._starts)
        ends = [*self._starts[1:], len(matrix)]
        found: list[tuple[str, int, float]] = []
        for number in _largest(best, count):
            row = int(similarities[self._starts[number] : ends[number]].argmax())
            found.append((self._names[number], row, float(best[number])))
        chunks = self._redis.hmget(self._chunks_key, [entry for entry, _, _ in found])
        return [
            Near(entry, json.loads(texts)[chunk], similarity)
            for (entry, chunk, similarity), texts in zip(found, chunks, strict=True)
            if texts is not None  # it was deleted a moment ago
        ]

    def _built(self) -> Vectors:
        if self._matrix is None:
            held = {entry: vectors for entry, vectors in self._entries.items() if len(vectors)}
            self._names = list(held)
            self._starts = [0, *accumulate(len(vectors) for vectors in held.values())][:-1]
            self._matrix = np.concatenate([np.empty((0, self._dimension), np.float32), *held.values()])
        return self._matrix

    def _unpack(self, value: bytes) -> Vectors:
        return np.frombuffer(value, "<f4").reshape(-1, self._dimension)


def _largest(values: NDArray[np.float32], count: int) -> list[int]:
    """The indices of the largest values, the largest first."""
    if count < len(values):
        top = np.argpartition(values, -count)[-count:]
        return [int(row) for row in top[np.argsort(-values[top])]]
    return [int(row) for row in np.argsort(-values)]
