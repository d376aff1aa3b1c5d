"""200 entries of 100 tokens, embedded together and one by one: `python -m tests.benchmarks.embedding`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import JobState
from core.library.records import Entry
from core.llama.calls import log
from core.llama.engine import EmbeddingModel, load_as
from core.model_files.spec import ModelSpec, resolve
from core.roles import Role
from tasks.jobs.records import Ended
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.shapes import Shape, write
from tests.benchmarks.table import Row, at_most, attempted, table
from tests.waiting import deadline, ended

COUNT, COUNT_SHORT = 200, 20
PATIENCE = 600.0
BATCH = 50
"""Entries that each way embeds before the next way's turn, so that all ways see the same load of the machine."""
TOKENS = 100
MEASURE, JOBS = f"embedding an entry of {TOKENS} tokens", f"indexing an entry of {TOKENS} tokens"
CASE = "BERT 6 × 384"
MINI = Shape("bert", layers=6, width=384, heads=12, kv_heads=12, feed_forward=1536, vocabulary=30_000, context=512,
             role=Role.EMBEDDING)  # fmt: skip
"""The shape of all-MiniLM-L6."""
MAX_RATIO = 1 / 3
"""Limit for the time in batches, divided by the time one by one."""


def rows(models: Models) -> list[Row]:
    return attempted(MEASURE, CASE, _embedded, models) + attempted(JOBS, CASE, _indexed_by_jobs, models)


def _embedded(models: Models) -> Iterator[Row]:
    file, texts = _model_and_texts(models)
    with _loaded(file) as model, _raw(model.spec) as one_by_one:
        assert model.count_tokens(texts[0]) == TOKENS <= model.spec.context_length
        ways = (model.embed, lambda part: [model.embed([text]) for text in part], one_by_one)
        together, alone, raw = _in_turns(texts, ways)
    yield _row(MEASURE, together, alone, len(texts), "one call each")
    yield _row(MEASURE, together, raw, len(texts), "Llama.embed")


def _indexed_by_jobs(models: Models) -> Iterator[Row]:
    file, texts = _model_and_texts(models)
    together, alone = _jobs(file, texts)
    yield _row(JOBS, together, alone, len(texts), "one job each")


def _model_and_texts(models: Models) -> tuple[Path, list[str]]:
    """The model, and texts in which each word is one token; the model adds two tokens to each text."""
    dice, words = random.Random(1), [f"word{number}" for number in range(1_000)]
    count = COUNT_SHORT if models.short else COUNT
    return write(models.folder / "mini.gguf", MINI), [" ".join(dice.choices(words, k=TOKENS - 2)) for _ in range(count)]


def _row(measure: str, charlie: float, other: float, count: int, against: str) -> Row:
    figures = charlie / count * 1000, other / count * 1000
    return at_most(measure, CASE, figures, "ms", against, MAX_RATIO)


def _in_turns(texts: Sequence[str], ways: Sequence[Callable[[Sequence[str]], object]]) -> list[float]:
    """Seconds that each way needs for all texts."""
    spent = [0.0] * len(ways)
    for way in ways:
        way(texts[:1])
    for start in range(0, len(texts), BATCH):
        for number, way in enumerate(ways):
            began = time.perf_counter()
            way(texts[start : start + BATCH])
            spent[number] += time.perf_counter() - began
    return spent


def _jobs(file: Path, texts: Sequence[str]) -> tuple[float, float]:
    """Seconds from the request to the end, as one job for all texts and as one job for each."""
    with home({Role.EMBEDDING: file}) as client, Runtime(client):
        ended(client.jobs, client.warm(Role.EMBEDDING).id)
        return (
            _index(client, texts, lambda entries: [client.ingest_all([entry.id for entry in entries]).id]),
            _index(client, texts, lambda entries: [client.ingest(entry).id for entry in entries]),
        )


def _index(client: Client, texts: Sequence[str], ask: Callable[[Sequence[Entry]], Sequence[str]]) -> float:
    entries = [client.journal.new_entry(text) for text in texts]
    began = time.perf_counter()
    *_, last = ask(entries)
    *_, end = deadline(client.follow(last), PATIENCE)
    assert isinstance(end, Ended)
    assert end.state is JobState.DONE
    return time.perf_counter() - began


@contextmanager
def _loaded(file: Path) -> Iterator[EmbeddingModel]:
    """The model, loaded as Charlie loads it."""
    with home({Role.EMBEDDING: file}) as client:
        model = load_as(EmbeddingModel, resolve(client.settings, client.paths, Role.EMBEDDING))
    yield model
    model.close()


@contextmanager
def _raw(spec: ModelSpec) -> Iterator[Callable[[Sequence[str]], object]]:
    """`Llama.embed`, called once for each text, with the same number of threads."""
    from llama_cpp import Llama

    llama = Llama(
        str(spec.path), embedding=True, verbose=False, n_ctx=spec.context_length, n_threads=spec.threads,
        n_threads_batch=spec.prefill_threads, n_gpu_layers=spec.gpu_layers,
    )  # fmt: skip
    log.disabled = True  # each call warns that it outputs all tokens
    yield lambda texts: [llama.embed(text) for text in texts]
    log.disabled = False
    llama.close()


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
