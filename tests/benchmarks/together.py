"""A question to the journal, from the request to the first token: `python -m tests.benchmarks.together`.

It takes three models: all-MiniLM-L6-v2, a generated reranker of the same shape, and SmolLM2. The comparison does the
same work in one process, without a queue and without a lifecycle: once with all models loaded, and once where each is
closed for the next one, as Charlie's policy `exclusive` has it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optimizers
from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import JobState, StateChanged
from core.roles import Role
from core.settings import Policy
from tasks.jobs.records import Ended, Hits, Text
from tests.benchmarks.by_hand import LIMIT, TOKENS, by_hand
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.shapes import Shape, write
from tests.benchmarks.table import Row, at_most, attempted, table
from tests.waiting import ended, output

MEASURE = "journal question to first token ÷ the same by hand in one process"
ROUNDS, ROUNDS_SHORT = 5, 1
UNTIMED = 2
"""The first questions load models, code and pages."""
MAX_TOGETHER, MAX_EXCLUSIVE = 1.10, 1.15
ROLES = len(Role)
DATA = Path(optimizers.__path__[0]) / "data"
RERANKER = Shape("bert", layers=6, width=384, heads=12, kv_heads=12, feed_forward=1536, vocabulary=30_000, context=512,
                 role=Role.RERANKER)  # fmt: skip
"""The shape of all-MiniLM-L6."""


def rows(models: Models) -> Iterator[Row]:
    yield from attempted(MEASURE, Policy.FITTING, _of_policy, models, Policy.FITTING, 0, MAX_TOGETHER)
    yield from attempted(MEASURE, Policy.EXCLUSIVE, _of_policy, models, Policy.EXCLUSIVE, ROLES, MAX_EXCLUSIVE)


def _of_policy(models: Models, policy: Policy, loads: int, limit: float) -> Iterator[Row]:
    reranker = write(models.folder / "reranker.gguf", RERANKER)
    rounds = UNTIMED + (ROUNDS_SHORT if models.short else ROUNDS)
    with home({Role.RERANKER: reranker}, policy) as client, Runtime(client):
        _index_diary(client, models)
        with by_hand(together=policy is Policy.FITTING) as ask:
            ours, theirs, questions = list[float](), list[float](), _questions()
            while len(ours) < rounds:
                question = next(questions)
                if (seconds := ask(question)) is None:
                    continue
                taken, found = _asked(client, question)
                theirs.append(seconds * 1000)
                ours.append(taken * 1000)
                if found != loads and len(ours) > UNTIMED:
                    raise ValueError(f"{found} loads for a question; {loads} were expected")
    figures = statistics.median(ours[UNTIMED:]), statistics.median(theirs[UNTIMED:])
    yield at_most(MEASURE, f"{policy}, {loads} loads", figures, "ms", "by hand", limit)


def _asked(client: Client, question: str) -> tuple[float, int]:
    """Seconds from the request to the first text, and the loads that the question took."""
    before = _loads(client)
    began = time.perf_counter()
    job = client.ask(question, LIMIT, max_tokens=TOKENS)
    first, reranked = 0.0, False
    for item in output(client.jobs, job.id):
        match item:
            case Hits(reranked=True):
                reranked = True
            case Text() if not first:
                first = time.perf_counter() - began
                client.cancel(job.id)
            case Ended() if not first or not reranked:
                raise ValueError(f"a question without an answer or without the reranker: {item.error}")
    return first, _loads(client) - before


def _loads(client: Client) -> int:
    return sum(isinstance(event, StateChanged) and event.trigger == "load" for event in client.bus.history())


def _index_diary(client: Client, models: Models) -> None:
    texts = [each["text"] for each in _read("diary.json")]
    entries = [client.journal.new_entry(text).id for text in texts[: 24 if models.short else None]]
    assert ended(client.jobs, client.ingest_all(entries).id).state is JobState.DONE


def _questions() -> Iterator[str]:
    """Questions that an entry answers."""
    return (each["question"] for each in _read("questions.json") if each["kind"] == "words")


def _read(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
