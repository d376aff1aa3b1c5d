"""Time and memory of enqueueing 10,000 jobs: `python -m tests.benchmarks.enqueue`."""

from __future__ import annotations

import statistics
import time

from app.client import Client
from app.runtime.owner import Runtime
from core.database.keys import JOBS
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, at_most, limited, table

COUNT, COUNT_SHORT = 10_000, 400
PARTS = 10
MAX_MS = 1.0
MAX_GROWTH = 1.2
"""Limit for a job's time or memory in a full queue, divided by that in an empty one; above 1, since both vary."""


def rows(models: Models) -> list[Row]:
    count = COUNT_SHORT if models.short else COUNT
    part = count // PARTS
    taken: list[float] = []
    with home(models.tiny) as client, Runtime(client, worker=False):
        client.search("the first search connects")
        memory = [_memory(client)]
        for _ in range(PARTS):
            for _ in range(part):
                began = time.perf_counter()
                client.search("a walk by the river")
                taken.append((time.perf_counter() - began) * 1000)
            memory.append(_memory(client))
        assert client.depth()[0] == count + 1
    early, late = statistics.median(taken[:part]), statistics.median(taken[-part:])
    first, last = (memory[1] - memory[0]) / part, (memory[-1] - memory[-2]) / part
    whole = f"{count:,} jobs"
    ends = f"the last {part:,} and the first"
    return [
        limited("enqueueing a job", whole, statistics.median(taken), MAX_MS, "ms"),
        at_most("enqueueing a job", ends, (late, early), "ms", "the first", MAX_GROWTH),
        at_most("memory of a queued job", ends, (last, first), "bytes", "the first", MAX_GROWTH),
    ]


def _memory(client: Client) -> int:
    """Bytes that the database uses, without the event history, whose length is limited."""
    used: int = client.redis.info("memory")["used_memory"]
    return used - int(client.redis.memory_usage(JOBS, samples=0) or 0)


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
