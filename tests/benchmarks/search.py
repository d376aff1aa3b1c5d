"""Finds the nearest 50 of 100,000 entries: `python -m tests.benchmarks.search`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from app.client import Client
from app.runtime.owner import Runtime
from core.database.keys import INDEXES
from core.events.types import JobState
from core.library.records import Entry
from core.library.vectors import VectorStore
from core.model_files.fingerprint import embedding_id
from core.model_files.spec import resolve
from core.roles import Role
from tasks.jobs.records import Hits
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, limited, table
from tests.waiting import ended, first, output

COUNT, COUNT_SHORT = 100_000, 2_000
ROUNDS, ROUNDS_SHORT = 15, 2
BATCH = 1_000
"""Entries per write."""
NEAREST = 50
MAX_MS = 50.0
WIDTH = 384
"""Dimensions of all-MiniLM-L6, a small model in wide use."""


def rows(models: Models) -> list[Row]:
    count, rounds = (COUNT_SHORT, ROUNDS_SHORT) if models.short else (COUNT, ROUNDS)
    case = f"of {count:,}"
    found = []
    with home(models.tiny) as client:
        spec = resolve(client.settings, client.paths, Role.EMBEDDING)
        with Runtime(client, worker=False):
            for width in (spec.header.embedding_length, WIDTH):
                name = embedding_id(spec) if width != WIDTH else "other"
                _write(client, count, name, width)
                nearest = _nearest(VectorStore(client._raw, name, width), width, rounds)
                found.append(limited(f"nearest {NEAREST}, {width} dimensions", case, nearest, MAX_MS, "ms"))
        with Runtime(client):
            ended(client.jobs, client.search("rain", NEAREST).id)  # loads the vectors
            unchanged = [_searched(client) for _ in range(rounds)]
            changed = [_searched(client, _add_entry) for _ in range(rounds)]
    for measure, figures in (("search to first hits", unchanged), ("search to first hits after a new entry", changed)):
        found.append(limited(measure, case, statistics.median(figures), MAX_MS, "ms"))
    return found


def _nearest(store: VectorStore, width: int, rounds: int) -> float:
    """Milliseconds of the call itself."""
    figures = []
    for query in _unit(np.random.default_rng(2), rounds, width):
        began = time.perf_counter()
        assert len(store.rows.nearest(query, NEAREST).entries) == NEAREST
        figures.append((time.perf_counter() - began) * 1000)
    return statistics.median(figures)


def _searched(client: Client, before: Callable[[Client], object] = lambda _: None) -> float:
    """Milliseconds from the request to the first hits, while the embedding model is warm."""
    before(client)
    ended(client.jobs, client.warm(Role.EMBEDDING).id)
    began = time.perf_counter()
    job = client.search("a walk by the river", NEAREST)
    out = output(client.jobs, job.id)
    # Hits by words come earlier, but not from every query.
    hits = first(out, lambda item: isinstance(item, Hits) and len(item.hits) == NEAREST)
    taken = (time.perf_counter() - began) * 1000
    assert isinstance(hits, Hits)
    client.cancel(job.id)  # reranking is not measured here
    list(out)
    return taken


def _add_entry(client: Client) -> None:
    entry = client.journal.new_entry("One more day by the river")
    assert ended(client.jobs, client.ingest(entry).id).state is JobState.DONE


def _write(client: Client, count: int, name: str, width: int) -> None:
    """Writes entries, each with one vector, as if that model had indexed them."""
    dice = np.random.default_rng(1)
    key = f"charlie:vectors:{name}"
    client.redis.sadd(INDEXES, key)
    for entries in _entries(count):
        client.journal.restore_entries(entries)
        vectors = _unit(dice, len(entries), width)
        with client._raw.pipeline(transaction=False) as pipe:
            pipe.hset(key, mapping={each.id: row.tobytes() for each, row in zip(entries, vectors, strict=True)})
            pipe.execute()


def _entries(count: int) -> Iterator[list[Entry]]:
    text = "It rained, and we stayed at home. " * 10
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        yield [Entry(f"{number:014x}", f"Day {number}\n{text}", number, number) for number in numbers]


def _unit(dice: np.random.Generator, rows: int, width: int) -> NDArray[np.float32]:
    vectors = dice.normal(size=(rows, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
