"""Finds the nearest 50 of 1,000,000 entries of one passage: `python -m tests.benchmarks.search`.

Their vectors are random, with MiniLM's dimensions. Recall is measured with real prose: the diary of a nobody and the
labelled diary, cut into one to three sentences, searched by the labelled questions and compared with float32.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from app.client import Client
from app.runtime.owner import Runtime
from core.database.keys import INDEXES
from core.events.types import JobState
from core.library.chunking import PASSAGE_CHARACTERS, sentences
from core.library.records import Entry
from core.library.vectors import Quantized, Rows, VectorStore
from core.llama.engine import EmbeddingModel, load_as
from core.model_files.fingerprint import embedding_id
from core.model_files.spec import resolve
from core.roles import Role
from tasks.jobs.records import Hits
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built, threads
from tests.benchmarks.search_quality import DATA, diary, prose
from tests.benchmarks.table import Row, at_least, at_most, attempted, limited, table
from tests.core.conftest import spec_of
from tests.minilm import write_minilm
from tests.waiting import ended, first, output

COUNT, COUNT_SHORT = 1_000_000, 2_000
ROUNDS, ROUNDS_SHORT = 15, 2
BATCH = 1_000
"""Entries per write."""
NEAREST = 50
MAX_MS = 60.0
WIDTH = 384
MAX_MEMORY = 1.3
"""Memory of database and worker for the vectors, divided by their bytes in float32."""
PASSAGES, PASSAGES_SHORT = 50_000, 200
"""Embedded for the recall, at most: the texts have 6,505 different ones."""
TOP, MIN_RECALL = 10, 0.97
MIB = 1024**2


def rows(models: Models) -> list[Row]:
    count, rounds = (COUNT_SHORT, ROUNDS_SHORT) if models.short else (COUNT, ROUNDS)
    file, case = write_minilm(models.folder / "minilm.gguf"), f"of {count:,}"
    return attempted(f"nearest {NEAREST}, {WIDTH} dimensions", case, _searches, file, count, rounds) + attempted(
        f"recall@{TOP}", "prose", _recall, file, PASSAGES_SHORT if models.short else PASSAGES
    )


def _searches(file: Path, count: int, rounds: int) -> Iterator[Row]:
    case = f"of {count:,}"
    with home({Role.EMBEDDING: file}) as client:
        name = embedding_id(resolve(client.settings, client.paths, Role.EMBEDDING))
        with Runtime(client, worker=False):
            for entries in _entries(count):
                client.journal.restore_entries(entries)
            used = _database_bytes(client)
            _write(client, count, name)
            stored, before = _database_bytes(client) - used, psutil.Process().memory_info().rss
            store = VectorStore(client._raw, name, WIDTH)
            held = psutil.Process().memory_info().rss - before
            nearest = _nearest(store, rounds)
            del store
        yield limited(f"nearest {NEAREST}, {WIDTH} dimensions", case, nearest, MAX_MS, "ms")
        figures = (stored + held) / MIB, count * WIDTH * 4 / MIB
        yield at_most("memory of vectors, database and worker", case, figures, "MB", "in float32", MAX_MEMORY)
        with Runtime(client):
            ended(client.jobs, client.search("rain", NEAREST).id)  # loads the vectors
            for after, change in (("", _nothing), (" after a new entry", _add_entry)):
                median = statistics.median(_searched(client, change) for _ in range(rounds))
                yield limited(f"search to first hits{after}", case, median, MAX_MS, "ms")


def _database_bytes(client: Client) -> int:
    return int(client.redis.info("memory")["used_memory"])


def _nearest(store: VectorStore, rounds: int) -> float:
    """Milliseconds of the call itself."""
    figures = []
    for query in _unit(np.random.default_rng(2), rounds):
        began = time.perf_counter()
        assert len(store.rows.nearest(query, NEAREST).entries) == NEAREST
        figures.append((time.perf_counter() - began) * 1000)
    return statistics.median(figures)


def _recall(file: Path, count: int) -> Iterator[Row]:
    """Of the nearest passages by float32, the share that is found; the figure is in percent."""
    model = load_as(EmbeddingModel, replace(spec_of(file, Role.EMBEDDING), prefill_threads=threads()))
    texts = _passages(count)
    vectors = model.embed(texts)
    asked = [each["question"] for each in json.loads((DATA / "questions.json").read_text())]
    queries = model.embed(asked, query=True)
    model.close()
    rows = Rows(vectors.shape[1])
    for number, vector in enumerate(vectors):
        rows.put(str(number), Quantized.of(vector[None]))
    found = 0
    for query in queries:
        exact = np.argsort(-(vectors @ query))[:TOP]
        found += len({str(number) for number in exact} & set(rows.nearest(query, TOP).entries))
    recall = 100 * found / TOP / len(queries)
    yield at_least(f"recall@{TOP}", f"{len(texts):,} passages", (recall, 100.0), "%", "float32", MIN_RECALL)


def _passages(count: int) -> list[str]:
    """Distinct stretches of one to three sentences."""
    found = dict[str, None]()
    for entry in [*prose(0, 1), *diary()]:
        spans = list(sentences(entry.text))
        for first_span in range(len(spans)):
            for last in spans[first_span : first_span + 3]:
                found[entry.text[spans[first_span][0] : last[1]][:PASSAGE_CHARACTERS]] = None
    return random.Random(1).sample(list(found), min(count, len(found)))


def _searched(client: Client, before: Callable[[Client], object]) -> float:
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


def _nothing(_: Client) -> None:
    pass


def _add_entry(client: Client) -> None:
    entry = client.journal.new_entry("One more day by the river")
    assert ended(client.jobs, client.ingest(entry).id).state is JobState.DONE


def _write(client: Client, count: int, name: str) -> None:
    """Writes the vectors of all entries, as if that model had indexed them."""
    dice, key = np.random.default_rng(1), f"charlie:vectors:{name}"
    client.redis.sadd(INDEXES, key)
    for start in range(0, count, BATCH):
        vectors = _unit(dice, min(BATCH, count - start))
        records = {_id(start + row): Quantized.of(vectors[row : row + 1]).record() for row in range(len(vectors))}
        client._raw.hset(key, mapping=records)


def _entries(count: int) -> Iterator[list[Entry]]:
    for start in range(0, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        yield [Entry(_id(each), f"Day {each}\nIt rained, and we stayed at home.", each, each) for each in numbers]


def _id(number: int) -> str:
    return f"{number:014x}"


def _unit(dice: np.random.Generator, rows: int) -> NDArray[np.float32]:
    vectors = dice.normal(size=(rows, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
