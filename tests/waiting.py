"""Waits for what happens, with a deadline and without sleeping: every wait blocks on a stream of the database."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from app.runtime import Runtime
from core.bus import Bus
from core.events import Event, Snapshot
from tasks.jobs import Ended, Hits, Jobs, Text

PATIENCE = 30.0
"""Seconds after which a wait fails the test."""

T = TypeVar("T")


def deadline(items: Iterator[T | None], seconds: float = PATIENCE) -> Iterator[T]:
    """The items of a source that yields None while it waits; fails when it has nothing for too long."""
    end = time.monotonic() + seconds
    for item in items:
        assert time.monotonic() < end, "what was waited for did not come"
        if item is not None:
            yield item


def happening(bus: Bus, past: int = 0) -> Iterator[Event | Snapshot]:
    """The snapshot, then what happens; the subscription stands when the snapshot has been taken from it."""
    return deadline(bus.follow(lambda: False, past=past))


def tended(running: Runtime, bus: Bus) -> Iterator[Event | Snapshot]:
    """The same, with the runtime mending what breaks all the while, as the interface has it do."""

    def follow() -> Iterator[Event | Snapshot | None]:
        for item in bus.follow(lambda: False):
            running.tick()
            yield item

    return deadline(follow())


def first(items: Iterator[T], wanted: Callable[[T], bool]) -> T:
    """The next item that is wanted."""
    for item in items:
        if wanted(item):
            return item
    raise AssertionError("the source ended before what was waited for came")


def output(jobs: Jobs, job_id: str) -> Iterator[Text | Hits | Ended]:
    """A job's output as it comes."""
    return deadline(jobs.follow(job_id))


def ended(jobs: Jobs, job_id: str) -> Ended:
    """How a job ended; waits for it."""
    *_, last = output(jobs, job_id)
    assert isinstance(last, Ended)
    return last


@contextmanager
def ends_within(pid: int, seconds: float) -> Iterator[None]:
    """The process, which need not be a child of ours, ends at most so long after the block began."""
    descriptor = os.pidfd_open(pid)
    try:
        began = time.monotonic()
        yield
        ready, _, _ = select.select([descriptor], [], [], max(0, began + seconds - time.monotonic()))
        assert ready, f"process {pid} has not ended within {seconds} seconds"
    finally:
        os.close(descriptor)
