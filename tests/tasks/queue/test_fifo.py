"""Two hundred jobs of mixed roles, enqueued at once to a real worker."""

from __future__ import annotations

import random

import pytest

from app.client import Client
from core.events.types import JobChanged, JobKind, JobState, Snapshot
from core.library.records import EntryState
from core.roles import Role
from tasks.jobs.records import Job
from tasks.worker.look_ahead import roles_of
from tests.states.walks import changes, legal, state_changes
from tests.waiting import first, follow_events

COUNT = 200
KINDS = [kind for kind in JobKind if kind not in (JobKind.REFLECT, JobKind.DESCRIBE, JobKind.FEEL)]
"""Not drawn: reflections, which lease the same as a chat for a second, and descriptions, which only a worker queues."""


def roles(job: Job) -> tuple[Role | None, ...]:
    """The roles that a job leases in turn; None unloads."""
    return (None,) if job.kind is JobKind.UNLOAD else roles_of(job)


def submit(client: Client, dice: random.Random) -> Job:
    match dice.choice(KINDS):
        case JobKind.CHAT:
            return client.chat(client.conversations.new_conversation().id, "hello", max_tokens=4)
        case JobKind.INGEST:
            return client.ingest(client.journal.new_entry("I walked by the river"))
        case JobKind.SEARCH:
            return client.search("river", limit=3)
        case JobKind.ASK:
            return client.ask("Where did I walk?", limit=2, max_tokens=4)
        case JobKind.WARM:
            return client.warm(dice.choice(list(Role)))
        case JobKind.UNLOAD:
            return client.unload()
        case JobKind.PLAN:
            return client.plan(dice.choice(list(Role)))
        case kind:
            raise AssertionError(f"{kind} is not among those that are drawn")


@pytest.mark.slow
def test_two_hundred_mixed_jobs(served: Client) -> None:
    dice = random.Random(5)
    with served.paths.config_file.open("a") as file:
        file.write('[memory]\npolicy = "exclusive"\n')
    served.journal.new_entry("I walked by the river, and it was cold")
    events = follow_events(served.bus)
    assert isinstance(next(events), Snapshot)
    jobs = [submit(served, dice) for _ in range(COUNT)]
    order = {job.id: number for number, job in enumerate(jobs)}
    listed = [each.job.id for each in served.queue()]
    assert listed == [job.id for job in jobs][COUNT - len(listed) :]

    taken: list[str] = []
    done: list[str] = []
    while len(done) < COUNT:
        event = first(events, lambda event: isinstance(event, JobChanged))
        assert isinstance(event, JobChanged)
        assert event.state not in ("failed", "cancelled", "interrupted"), event
        if event.state in ("waiting", "running") and event.id not in taken:  # a warm model is not waited for
            taken.append(event.id)
        elif event.state == "done":
            assert event.id == taken[-1]
            done.append(event.id)
    assert [order[id_] for id_ in taken] == list(range(COUNT))
    assert [order[id_] for id_ in done] == list(range(COUNT))
    assert served.queue() == []
    assert {job.state for job in served.jobs.find_all(done)} == {JobState.DONE}
    assert {entry.state for entry in served.journal.entries()} == {EntryState.INDEXED}

    loads, warm = 0, None
    for role in (role for job in jobs for role in roles(job)):
        loads += role is not None and role is not warm
        warm = role
    history = changes(served.bus)
    assert legal(history)
    assert sum(change.trigger == "load" for change in history) == loads
    assert sum(change.trigger == "unload" for change in history) == loads - (warm is not None)
    assert not [change for change in history if change.trigger.endswith("_failed")]
    assert [event.seq for event in state_changes(served.bus)] == list(range(1, len(history) + 1))
    assert served.snapshot().role == warm
