"""How a worker is brought into each phase of its work, and caught there."""

from __future__ import annotations

from collections.abc import Callable

from core.events import JobProgress, Snapshot, StateChanged
from core.settings import Role
from tasks.jobs import Job, JobState, Text
from tests.faults.stage import Stage
from tests.tasks.test_recovery import LONG
from tests.waiting import ended, first, happening, output

Reach = Callable[[Stage], Job]
"""Gives the job that is at work in the phase; others wait behind it."""


def _warm(on: Stage) -> None:
    assert ended(on.client.jobs, on.client.warm(Role.INSTRUCT).id).state is JobState.DONE


def loading(on: Stage) -> Job:
    return _changing(on, "loading", lambda: on.client.warm(Role.INSTRUCT))


def unloading(on: Stage) -> Job:
    _warm(on)
    return _changing(on, "unloading", on.client.unload)


def _changing(on: Stage, phase: str, submit: Callable[[], Job]) -> Job:
    events = happening(on.client.bus)
    assert isinstance(next(events), Snapshot)
    job = on.ask(submit())
    first(events, lambda event: isinstance(event, StateChanged) and event.to == phase)
    return job


def prefilling(on: Stage) -> Job:
    _warm(on)
    events = happening(on.client.bus)
    assert isinstance(next(events), Snapshot)
    job = on.ask(chat(on, "many words " * 1000))
    on.ask_for_more()
    first(events, lambda event: isinstance(event, JobProgress) and event.id == job.id and event.stage == "prefill")
    return job


def decoding(on: Stage) -> Job:
    job = on.ask(chat(on, "hello"))
    on.ask_for_more()
    out = output(on.client.jobs, job.id)
    for _ in range(3):
        assert isinstance(next(out), Text)
    return job


def queued(on: Stage) -> Job:
    """One that waits behind what the worker is at."""
    decoding(on)
    return on.client.warm(Role.EMBEDDING)


def ingesting(on: Stage) -> Job:
    events = happening(on.client.bus)
    assert isinstance(next(events), Snapshot)
    job = on.ask(on.client.ingest(on.save(LONG)))
    on.ask_for_more()
    first(events, lambda event: isinstance(event, JobProgress) and event.id == job.id)
    return job


def chat(on: Stage, text: str, max_tokens: int = 10_000) -> Job:
    return on.client.chat(on.client.library.new_conversation().id, text, max_tokens=max_tokens)
