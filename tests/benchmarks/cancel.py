"""Cancelling until the model is free, in each phase: `python -m tests.benchmarks.cancel`.

A second job waits behind the one that is cancelled. The time runs from the call of `client.cancel` until the worker has
taken that one (its event says `waiting`), so all that ends a job is in it. A job that is still queued holds up nobody:
there it runs until its output has ended, while another job decodes.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.client import Client
from app.runtime import Runtime
from core.events import Event, JobChanged, JobProgress, Snapshot, StateChanged
from core.settings import Role
from tasks.jobs import Job, JobState, Text
from tests.benchmarks.charlie import words
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, limited, table
from tests.waiting import ended, first, output

ROUNDS = 15
PROMPT = 4000
"""Words, and so tokens, of the prompt whose prefill is cancelled."""
ROOM = 64
"""Tokens of completion that leave room for it in the default context of 4,096; replies may have many more."""
READ = 0.2
"""The most of it that has been read by then: the rest would take minutes."""
SAID = 10
"""The most pieces of a reply that have come when it is cancelled."""
LIMIT = 50.0
MEASURE = "cancel until the model is free"


@contextmanager
def serving(file: Path, *, mmap: bool = True) -> Iterator[Cancelling]:
    """A worker with a file as the instruct model, on every core, and otherwise as it is by default."""
    with home({Role.INSTRUCT: file}) as client:
        client.paths.config_file.write_text(f'[instruct]\nfile = "{file}"\nmmap = {str(mmap).lower()}\n')
        with Runtime(client):
            yield Cancelling(client)


class Cancelling:
    """Has a job reach a phase and cancels it there, `part` (0 to 1) of the way through it.

    Each method gives milliseconds, or None when the job was done before it was cancelled.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seed = 0
        events = client.bus.follow(lambda: False)
        self._events = (event for event in events if event is not None)
        next(self._events)  # the snapshot

    def queued(self, part: float) -> float | None:
        running = self._chat(3)
        self._await_text(running, 1 + round(part * SAID))
        job = self._chat(3)
        began = time.perf_counter()
        self._client.cancel(job.id)
        last = ended(self._client.jobs, job.id)
        milliseconds = (time.perf_counter() - began) * 1000
        self._client.cancel(running.id)
        ended(self._client.jobs, running.id)
        return milliseconds if last.state is JobState.CANCELLED else None

    def loading(self, part: float) -> float | None:
        self._client.unload()
        usual = self._load_seconds()
        job = self._chat(3)
        self._until(lambda event: isinstance(event, StateChanged) and event.to == "loading")
        time.sleep(part * usual)
        return self._until_free(job)

    def prefill(self, part: float) -> float | None:
        job = self._chat(PROMPT, ROOM)
        self._until(lambda event: isinstance(event, JobProgress) and event.id == job.id and event.stage == "prefill")
        wanted = part * READ * PROMPT
        self._until(lambda event: isinstance(event, JobProgress) and event.id == job.id and event.done >= wanted)
        return self._until_free(job)

    def decoding(self, part: float) -> float | None:
        job = self._chat(3)
        self._await_text(job, 1 + round(part * SAID))
        return self._until_free(job)

    def _chat(self, count: int, completion: int = 2000) -> Job:
        self._seed += 1
        conversation = self._client.library.new_conversation().id
        return self._client.chat(conversation, words(count, self._seed), max_tokens=completion)

    def _load_seconds(self) -> float:
        """How long a load takes that nobody cancels; nothing is loaded afterwards."""
        self._client.warm(Role.INSTRUCT)
        warm = self._until(lambda event: isinstance(event, StateChanged) and event.to == "warm")
        ended(self._client.jobs, self._client.unload().id)
        assert isinstance(warm, StateChanged)
        return warm.elapsed_ms / 1000

    def _await_text(self, job: Job, pieces: int) -> None:
        texts = (item for item in output(self._client.jobs, job.id) if isinstance(item, Text))
        for _ in range(pieces):
            next(texts)

    def _until(self, wanted: Callable[[Event | Snapshot], bool]) -> Event | Snapshot:
        return first(self._events, wanted)

    def _until_free(self, job: Job) -> float | None:
        behind = self._client.plan(Role.INSTRUCT)  # it loads nothing
        began = time.perf_counter()
        self._client.cancel(job.id)
        self._until(lambda event: isinstance(event, JobChanged) and (event.id, event.state) == (behind.id, "waiting"))
        milliseconds = (time.perf_counter() - began) * 1000
        ended(self._client.jobs, behind.id)
        return milliseconds if ended(self._client.jobs, job.id).state is JobState.CANCELLED else None


def measured(case: str, once: Callable[[float], float | None], rounds: int) -> Row:
    """A phase cancelled at moments that are spread over it."""
    moments = [(number + 0.5) / rounds for number in range(rounds)]
    random.Random(1).shuffle(moments)
    found = [milliseconds for part in moments if (milliseconds := once(part)) is not None]
    if not found:
        return Row(MEASURE, f"{case}, which was over before it could be cancelled", "", "", 0.0, "", math.inf)
    said = f"{case}, median of {len(found)}, worst {max(found):.0f} ms"
    return limited(MEASURE, said, statistics.median(found), LIMIT, "ms")


def rows(models: Models) -> list[Row]:
    rounds = 2 if models.short else ROUNDS
    found = []
    for name, file in (("0.1 B", models.tenth), ("0.5 B", models.half)):
        with serving(file) as on:
            found += [
                measured(f"{name} {phase}", once, rounds)
                for phase, once in (
                    ("queued", on.queued),
                    ("loading", on.loading),
                    ("prefill", on.prefill),
                    ("decoding", on.decoding),
                )
            ]
    # A file that is mapped is loaded in no time; one that is read takes a while.
    with serving(models.half, mmap=False) as on:
        found.append(measured("0.5 B loading without mmap", on.loading, rounds))
    return found


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
