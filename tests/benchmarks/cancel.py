"""Time from a cancel until the model is free, in each phase: `python -m tests.benchmarks.cancel`.

A second job waits behind the cancelled one. The time runs from the call of `client.cancel` until the worker takes the
second job (its event says `waiting`), so it includes everything that ends a job. A queued job blocks no other job: for
it the time runs until its output has ended, while another job decodes.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import Event, JobChanged, JobProgress, JobState, Snapshot, StateChanged
from core.roles import Role
from core.settings import InstructSettings
from tasks.jobs.records import Job, Text
from tests.benchmarks.charlie import must_fit, words
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, attempted, limited, table
from tests.waiting import ended, first, output

ROUNDS = 9
PROMPT = 3800
"""Words, which are also tokens, of the prompt whose prefill is cancelled."""
COMPLETION = 64
"""Tokens of completion that fit after this prompt in the default context of 4,096; other jobs ask for more."""
MAX_PREFILL = 0.2
"""Share of the prompt after which the prefill is cancelled at the latest: the rest would take minutes."""
MAX_PIECES = 10
"""Pieces of text after which a reply is cancelled at the latest."""
LIMIT = 50.0
MEASURE = "cancel until the model is free"


@contextmanager
def serving(file: Path, *, mmap: bool = True) -> Iterator[Cancelling]:
    """A worker with a file as the instruct model and default settings otherwise."""
    with home({Role.INSTRUCT: file}) as client:
        client.paths.config_file.write_text(f'[instruct]\nfile = "{file}"\nmmap = {str(mmap).lower()}\n')
        with Runtime(client):
            yield Cancelling(client)


class Cancelling:
    """Cancels a job in a phase, after `part` (0 to 1) of it.

    Each method returns milliseconds, or None if the job was done before it was cancelled.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seed = 0
        events = client.bus.follow(lambda: False)
        self._events = (event for event in events if event is not None)
        next(self._events)  # the snapshot

    def queued(self, part: float) -> float | None:
        running = self._chat(3)
        self._await_text(running, 1 + round(part * MAX_PIECES))
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
        load_seconds = self._load_seconds()
        job = self._chat(3)
        self._until(lambda event: isinstance(event, StateChanged) and event.to == "loading")
        time.sleep(part * load_seconds)
        return self._until_free(job)

    def prefill(self, part: float) -> float | None:
        job = self._chat(PROMPT, COMPLETION)
        self._until(lambda event: isinstance(event, JobProgress) and event.id == job.id and event.stage == "prefill")
        wanted = part * MAX_PREFILL * PROMPT
        self._until(lambda event: isinstance(event, JobProgress) and event.id == job.id and event.done >= wanted)
        return self._until_free(job)

    def decoding(self, part: float) -> float | None:
        job = self._chat(3)
        self._await_text(job, 1 + round(part * MAX_PIECES))
        return self._until_free(job)

    def _chat(self, count: int, completion: int = 2000) -> Job:
        self._seed += 1
        conversation = self._client.conversations.new_conversation().id
        return self._client.chat(conversation, words(count, self._seed), max_tokens=completion)

    def _load_seconds(self) -> float:
        """Seconds of a load that is not cancelled. Unloads the model again."""
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
        second = self._client.plan(Role.INSTRUCT)  # a job that loads nothing
        began = time.perf_counter()
        self._client.cancel(job.id)
        self._until(lambda event: isinstance(event, JobChanged) and (event.id, event.state) == (second.id, "waiting"))
        milliseconds = (time.perf_counter() - began) * 1000
        ended(self._client.jobs, second.id)
        return milliseconds if ended(self._client.jobs, job.id).state is JobState.CANCELLED else None


def measured(case: str, once: Callable[[float], float | None], rounds: int) -> Iterator[Row]:
    """Cancels a phase at moments spread over it, in random order."""
    moments = [(number + 0.5) / rounds for number in range(rounds)]
    random.Random(1).shuffle(moments)
    found = [milliseconds for part in moments if (milliseconds := once(part)) is not None]
    if not found:
        raise ValueError("each job was done before it was cancelled")
    case = f"{case}, median of {len(found)}, worst {max(found):.0f} ms"
    yield limited(MEASURE, case, statistics.median(found), LIMIT, "ms")


def rows(models: Models) -> Iterator[Row]:
    for name, file in (("0.1 B", models.tenth), ("0.5 B", models.half)):
        yield from attempted(MEASURE, name, _in_each_phase, name, file, models)
    yield from attempted(MEASURE, "0.5 B loading without mmap", _without_mmap, models)


def _in_each_phase(name: str, file: Path, models: Models) -> Iterator[Row]:
    must_fit(file, PROMPT, COMPLETION, system=InstructSettings().system_prompt)
    with serving(file) as cancelling:
        for phase, once in (
            ("queued", cancelling.queued),
            ("loading", cancelling.loading),
            ("prefill", cancelling.prefill),
            ("decoding", cancelling.decoding),
        ):
            case = f"{name} {phase}"
            yield from attempted(MEASURE, case, measured, case, once, _rounds(models))


def _without_mmap(models: Models) -> Iterator[Row]:
    """Loads that take longer, because the file is read instead of mapped."""
    with serving(models.half, mmap=False) as cancelling:
        yield from measured("0.5 B loading without mmap", cancelling.loading, _rounds(models))


def _rounds(models: Models) -> int:
    return 2 if models.short else ROUNDS


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
