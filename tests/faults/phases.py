"""Brings the worker into a phase of its work, with more jobs waiting."""

from __future__ import annotations

from collections.abc import Callable

from core.events.types import JobProgress, JobState, Snapshot, StateChanged
from core.roles import Role
from tasks.jobs.records import Job, Text
from tests.faults.stage import Stage
from tests.tasks.worker.test_recovery import LONG
from tests.waiting import ended, first, follow_events, output

Reach = Callable[[Stage], Job]
"""Returns the job that runs in the phase; others wait behind it."""


def _warm(on: Stage) -> None:
    assert ended(on.client.jobs, on.client.warm(Role.INSTRUCT).id).state is JobState.DONE


def loading(on: Stage) -> Job:
    return _changing(on, "loading", lambda: on.client.warm(Role.INSTRUCT))


def unloading(on: Stage) -> Job:
    _warm(on)
    return _changing(on, "unloading", on.client.unload)


def _changing(on: Stage, phase: str, submit: Callable[[], Job]) -> Job:
    events = follow_events(on.client.bus)
    assert isinstance(next(events), Snapshot)
    job = on.track(submit())
    first(events, lambda event: isinstance(event, StateChanged) and event.to == phase)
    return job


def prefilling(on: Stage) -> Job:
    _warm(on)
    events = follow_events(on.client.bus)
    assert isinstance(next(events), Snapshot)
    job = on.track(chat(on, "many words " * 1000))
    on.queue_more()
    first(events, lambda event: isinstance(event, JobProgress) and event.id == job.id and event.stage == "prefill")
    return job


def decoding(on: Stage) -> Job:
    job = on.track(chat(on, "hello"))
    on.queue_more()
    out = output(on.client.jobs, job.id)
    for _ in range(3):
        assert isinstance(next(out), Text)
    return job


def queued(on: Stage) -> Job:
    """A job that waits behind the running one."""
    decoding(on)
    return on.client.warm(Role.EMBEDDING)


def ingesting(on: Stage) -> Job:
    events = follow_events(on.client.bus)
    assert isinstance(next(events), Snapshot)
    job = on.track(on.client.ingest(on.save(LONG)))
    on.queue_more()
    first(events, lambda event: isinstance(event, JobProgress) and event.id == job.id)
    return job


def chat(on: Stage, text: str, max_tokens: int = 10_000) -> Job:
    return on.client.chat(on.client.conversations.new_conversation().id, text, max_tokens=max_tokens)
