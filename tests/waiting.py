"""Waits with a deadline and without sleeping; waits for events block on a stream of the database."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from app.runtime.owner import Runtime
from core.events.bus import Bus
from core.events.types import Event, Snapshot
from tasks.jobs.records import Ended, Output
from tasks.jobs.store import Jobs

PATIENCE = 30.0
"""Seconds after which a wait fails the test."""

T = TypeVar("T")


def deadline(items: Iterator[T | None], seconds: float | None = None) -> Iterator[T]:
    """The items of a source that yields None while it waits; fails after `seconds` in all, else after PATIENCE."""
    seconds = PATIENCE if seconds is None else seconds
    end = time.monotonic() + seconds
    for item in items:
        assert time.monotonic() < end, f"still waiting after {seconds:.0f} seconds"
        if item is not None:
            yield item


def follow_events(bus: Bus, past: int = 0) -> Iterator[Event | Snapshot]:
    """The snapshot, then the events. The subscription is active once the snapshot was taken."""
    return deadline(bus.follow(lambda: False, past=past))


def follow_and_tick(running: Runtime, bus: Bus) -> Iterator[Event | Snapshot]:
    """Follows events while the runtime restarts lost processes, as in the interface."""

    def follow() -> Iterator[Event | Snapshot | None]:
        for item in bus.follow(lambda: False):
            running.tick()
            yield item

    return deadline(follow())


def first(items: Iterator[T], wanted: Callable[[T], bool]) -> T:
    """The next item for which `wanted` is true."""
    for item in items:
        if wanted(item):
            return item
    raise AssertionError("the source ended without the wanted item")


def output(jobs: Jobs, job_id: str) -> Iterator[Output]:
    """A job's output, as it streams."""
    return deadline(jobs.follow(job_id))


def ended(jobs: Jobs, job_id: str) -> Ended:
    """Waits for the end of a job."""
    *_, last = output(jobs, job_id)
    assert isinstance(last, Ended)
    return last


def join(*threads: threading.Thread, seconds: float = PATIENCE) -> None:
    """Wait until the threads have ended."""
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
        assert not thread.is_alive(), f"{thread.name} has not ended within {seconds:.0f} seconds"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block after each `seconds`; main thread only."""

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {seconds:.0f} seconds")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def ends_within(pid: int, seconds: float) -> Iterator[None]:
    """Fails unless the process, which need not be a child, ends within `seconds` of the block's start."""
    descriptor = os.pidfd_open(pid)
    try:
        began = time.monotonic()
        yield
        ready, _, _ = select.select([descriptor], [], [], max(0, began + seconds - time.monotonic()))
        assert ready, f"process {pid} has not ended within {seconds} seconds"
    finally:
        os.close(descriptor)
