"""10,000 jobs that wait: what asking for each takes, in time and in memory: `python -m tests.benchmarks.enqueue`."""

from __future__ import annotations

import statistics
import time

from app.client import Client
from app.runtime import Runtime
from core.bus import JOBS
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, at_most, limited, table

COUNT, COUNT_SHORT = 10_000, 400
PARTS = 10
MOST_MS = 1.0
FLAT = 1.2
"""So many times the time or memory of a job in an empty queue one in a full queue may take, as the machine wavers."""


def rows(models: Models) -> list[Row]:
    count = COUNT_SHORT if models.short else COUNT
    part = count // PARTS
    taken: list[float] = []
    with home(models.starters) as client, Runtime(client, worker=False):
        client.search("the first of all connects")
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
        limited("enqueueing a job", whole, statistics.median(taken), MOST_MS, "ms"),
        at_most("enqueueing a job", ends, (late, early), "ms", "the first", FLAT),
        at_most("memory of a job that waits", ends, (last, first), "bytes", "the first", FLAT),
    ]


def _memory(client: Client) -> int:
    """Bytes that the database uses, less the history of events, which is of a limited length."""
    used: int = client.redis.info("memory")["used_memory"]
    return used - int(client.redis.memory_usage(JOBS, samples=0) or 0)


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
