"""The vectors of all passages as one matrix in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

LEAST_ROWS = 1_000
GROWTH = 1.5
"""A full matrix grows by this factor. Rows that are not filled yet take no memory."""


class Nearest(NamedTuple):
    """The similarities of all passages of the nearest entries, nearest first; mean and deviation over all entries."""

    entries: dict[str, Vectors]
    mean: float
    deviation: float


class Rows:
    """The vectors of entries as rows of one matrix. Adding an entry rarely copies the matrix."""

    def __init__(self, dimension: int) -> None:
        self._matrix = np.empty((LEAST_ROWS, dimension), np.float32)
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

    def put(self, entry: str, vectors: Vectors) -> None:
        """Add an entry, or replace its rows."""
        self.remove(entry)
        self._places[entry] = None
        if not len(vectors):
            return
        end, number = self._used + len(vectors), len(self._names)
        if end > len(self._matrix):
            self._matrix = larger(self._matrix, self._used, end)
        if number == len(self._starts):
            self._starts = larger(self._starts, number, number + 1)
            self._gone = larger(self._gone, number, number + 1)
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
        self._stale += self._end(place) - int(self._starts[place])
        if self._stale > max(LEAST_ROWS, self._used // 2):
            self._pack()

    def nearest(
        self, query: Vectors, count: int, among: Collection[str] | None = None, also: Iterable[str] = ()
    ) -> Nearest:
        """The `count` nearest entries, all of them or those `among`, and the entries `also`."""
        if not self._names:
            return Nearest({}, 0.0, 1.0)
        similarities = self._matrix[: self._used] @ query
        best = np.maximum.reduceat(similarities, self._starts[: len(self._names)])
        held = ~self._gone[: len(self._names)]
        mean, deviation = (float(best[held].mean()), float(best[held].std())) if held.any() else (0.0, 0.0)
        if among is not None:
            held &= np.fromiter((name in among for name in self._names), np.bool_, len(self._names))
        best[~held] = -np.inf
        places = [place for place in largest(best, count) if held[place]]
        places += [place for name in also if (place := self._places.get(name)) is not None]
        rows = {self._names[place]: similarities[self._starts[place] : self._end(place)] for place in places}
        return Nearest(rows, mean, deviation)

    def _end(self, place: int) -> int:
        return int(self._starts[place + 1]) if place + 1 < len(self._names) else self._used

    def _pack(self) -> None:
        """Remove the rows of removed entries."""
        count = len(self._names)
        held = ~self._gone[:count]
        lengths = np.diff(self._starts[:count], append=self._used)
        rows = self._matrix[: self._used][np.repeat(held, lengths)]
        self._names = [name for name, stays in zip(self._names, held, strict=True) if stays]
        self._places |= {name: place for place, name in enumerate(self._names)}
        self._starts[: len(self._names)] = np.cumsum(lengths[held]) - lengths[held]
        self._gone[: len(self._names)] = False
        self._matrix[: len(rows)] = rows
        self._used, self._stale = len(rows), 0


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
