"""1,000 entries of 100 tokens, embedded together and one by one: `python -m tests.benchmarks.embedding`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.client import Client
from app.runtime import Runtime
from core.engine import EmbeddingModel, load_embedding
from core.library import Entry
from core.model_files import ModelSpec, resolve
from core.native import log
from core.settings import Role
from optimizers.starter.words import COMMON
from tasks.jobs import Ended, JobState
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.shapes import Shape, write
from tests.benchmarks.table import Row, at_most, table
from tests.waiting import deadline, ended

COUNT, COUNT_LARGE, COUNT_SHORT = 1_000, 200, 20
"""With the starter, with a model whose entries take so long that fewer say the same, and where it is short."""
PATIENCE = 600.0
PART = 50
"""Entries that are embedded in one way, then in the next, so that all ways see the same machine."""
TOKENS = 100
MINI = Shape("bert", layers=6, width=384, heads=12, kv_heads=12, feed_forward=1536, vocabulary=30_000, context=512,
             role=Role.EMBEDDING)  # fmt: skip
"""As all-MiniLM-L6."""
MUST = 1 / 3
"""So much of the time that one by one takes."""


def rows(models: Models) -> list[Row]:
    mini = write(models.folder / "mini.gguf", MINI)
    cases = [
        ("starter", models.starters[Role.EMBEDDING], COMMON, COUNT),
        ("BERT 6 × 384", mini, [f"word{number}" for number in range(1_000)], COUNT_LARGE),
    ]
    found = []
    for name, file, words, many in cases:
        count = COUNT_SHORT if models.short else many
        texts = _texts(words, count)
        with _loaded(file) as model, _raw(model.spec) as one_by_one:
            assert model.count_tokens(texts[0]) == TOKENS
            ways = (model.embed, lambda part, model=model: [model.embed([text]) for text in part], one_by_one)
            together, alone, raw = _in_turns(texts, ways)
        found += [
            _row("embedding", name, together, alone, count, "one call each"),
            _row("embedding", name, together, raw, count, "Llama.embed"),
            _row("reading in", name, *_jobs(file, texts), count, "one job each"),
        ]
    return found


def _row(measure: str, case: str, charlie: float, other: float, count: int, against: str) -> Row:
    figures = charlie / count * 1000, other / count * 1000
    return at_most(f"{measure} an entry of {TOKENS} tokens", case, figures, "ms", against, MUST)


def _texts(words: Sequence[str], count: int) -> list[str]:
    """Each word is a token; two more are put around them."""
    dice = random.Random(1)
    return [" ".join(dice.choices(words, k=TOKENS - 2)) for _ in range(count)]


def _in_turns(texts: Sequence[str], ways: Sequence[Callable[[Sequence[str]], object]]) -> list[float]:
    """Seconds that each way takes for all texts."""
    spent = [0.0] * len(ways)
    for way in ways:
        way(texts[:1])
    for start in range(0, len(texts), PART):
        for number, way in enumerate(ways):
            began = time.perf_counter()
            way(texts[start : start + PART])
            spent[number] += time.perf_counter() - began
    return spent


def _jobs(file: Path, texts: Sequence[str]) -> tuple[float, float]:
    """Seconds from asking for it to the end, as one job and as one each."""
    with home({Role.EMBEDDING: file}) as client, Runtime(client):
        ended(client.jobs, client.warm(Role.EMBEDDING).id)
        return (
            _read_in(client, texts, lambda entries: [client.ingest_all([entry.id for entry in entries]).id]),
            _read_in(client, texts, lambda entries: [client.ingest(entry).id for entry in entries]),
        )


def _read_in(client: Client, texts: Sequence[str], ask: Callable[[Sequence[Entry]], Sequence[str]]) -> float:
    entries = [client.library.new_entry(text) for text in texts]
    began = time.perf_counter()
    *_, last = ask(entries)
    *_, end = deadline(client.follow(last), PATIENCE)
    assert isinstance(end, Ended)
    assert end.state is JobState.DONE
    return time.perf_counter() - began


@contextmanager
def _loaded(file: Path) -> Iterator[EmbeddingModel]:
    """As Charlie loads it."""
    with home({Role.EMBEDDING: file}) as client:
        model = load_embedding(resolve(client.settings, client.paths, Role.EMBEDDING))
    yield model
    model.close()


@contextmanager
def _raw(spec: ModelSpec) -> Iterator[Callable[[Sequence[str]], object]]:
    """llama-cpp-python's own embedding, one call for each text, with as many threads."""
    from llama_cpp import Llama

    llama = Llama(
        str(spec.path), embedding=True, verbose=False, n_ctx=spec.context_length, n_threads=spec.threads,
        n_threads_batch=spec.threads, n_gpu_layers=spec.gpu_layers,
    )  # fmt: skip
    log.disabled = True  # it says of each call that all tokens are wanted
    yield lambda texts: [llama.embed(text) for text in texts]
    log.disabled = False
    llama.close()


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
