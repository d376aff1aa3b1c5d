"""Cancelling in every phase, on a real worker with a model that would run for minutes."""

from __future__ import annotations

import time

import pytest

from app.client import Client
from core.errors import NotFoundError
from core.events.types import JobChanged, JobProgress, JobState, Snapshot, StateChanged
from core.library.records import EntryState, MessageState
from core.roles import Role
from tasks.jobs.records import Ended, Job, Text
from tests.states.walks import changes, legal, steps
from tests.waiting import ended, first, follow_events, output

SOON = 3.0
"""Seconds that a stop may take on a busy machine; without a stop the work would take more than a minute."""


def chat(client: Client, text: str = "hello", max_tokens: int = 10_000) -> Job:
    return client.chat(client.conversations.new_conversation().id, text, max_tokens=max_tokens)


def usable_at_once(client: Client) -> None:
    """The next reply comes from the same warm model."""
    job = chat(client, max_tokens=3)
    last = ended(client.jobs, job.id)
    assert last.state is JobState.DONE
    assert last.result is not None
    assert last.result["load_ms"] == 0
    assert last.result["completion_tokens"] == 3


def phase(client: Client) -> tuple[str, str | None]:
    """The phase and role of the machine, once no job runs."""
    assert ended(client.jobs, client.plan(Role.INSTRUCT).id).state is JobState.DONE  # a plan changes nothing
    assert legal(changes(client.bus))
    snapshot = client.snapshot()
    return snapshot.phase, snapshot.role


def test_cancelling_while_waiting_for_the_model(slowly: Client) -> None:
    """Nothing is loaded afterwards, whether the load had begun or not."""
    assert ended(slowly.jobs, slowly.unload().id).state is JobState.DONE
    events = follow_events(slowly.bus)
    assert isinstance(next(events), Snapshot)
    job = chat(slowly)
    first(events, lambda event: isinstance(event, JobChanged) and event.id == job.id and event.state == "waiting")
    began = time.monotonic()
    assert slowly.cancel(job.id)
    assert ended(slowly.jobs, job.id).state is JobState.CANCELLED
    assert time.monotonic() - began < SOON
    assert phase(slowly) == ("empty", None)
    assert ended(slowly.jobs, slowly.warm(Role.INSTRUCT).id).state is JobState.DONE


def test_cancelling_during_a_load(slowly: Client) -> None:
    """The load itself is cancelled: `load`, then `load_failed`; the next load works."""
    assert ended(slowly.jobs, slowly.unload().id).state is JobState.DONE
    assert phase(slowly) == ("empty", None)
    past = slowly.snapshot().seq
    events = follow_events(slowly.bus)
    assert isinstance(next(events), Snapshot)
    job = chat(slowly)
    first(events, lambda event: isinstance(event, StateChanged) and event.to == "loading")
    assert slowly.cancel(job.id)
    assert ended(slowly.jobs, job.id).state is JobState.CANCELLED
    assert slowly.reply(job) is None
    made = steps(changes(slowly.bus, past))
    # A small file may be loaded before the cancel arrives; then the reply is stopped.
    expected = {"load_failed": ("empty", None), "loaded": ("warm", "instruct")}
    assert made[0] == "load instruct"
    assert phase(slowly) == expected[made[1].split()[0]]
    usable = chat(slowly, max_tokens=3)
    assert ended(slowly.jobs, usable.id).state is JobState.DONE
    assert phase(slowly) == ("warm", "instruct")


def test_cancelling_while_decoding(slowly: Client) -> None:
    job = chat(slowly)
    out = output(slowly.jobs, job.id)
    texts = [first(out, lambda item: isinstance(item, Text)) for _ in range(3)]
    began = time.monotonic()
    assert slowly.cancel(job.id)
    rest = list(out)
    assert time.monotonic() - began < SOON
    assert rest[-1] == Ended(JobState.CANCELLED)
    said = "".join(item.text for item in [*texts, *rest] if isinstance(item, Text))
    reply = slowly.reply(job)
    assert reply is not None
    assert (reply.text, reply.state) == (said, MessageState.CANCELLED)
    assert said
    assert slowly.jobs.get(job.id).state is JobState.CANCELLED
    assert phase(slowly) == ("warm", "instruct")
    usable_at_once(slowly)


def test_cancelling_in_prefill(slowly: Client) -> None:
    """Evaluated tokens stay in the KV cache; no text is stored."""
    assert ended(slowly.jobs, slowly.warm(Role.INSTRUCT).id).state is JobState.DONE
    events = follow_events(slowly.bus)
    assert isinstance(next(events), Snapshot)
    job = chat(slowly, "many words " * 1000, max_tokens=10)
    first(events, lambda event: isinstance(event, JobProgress) and event.id == job.id and event.stage == "prefill")
    began = time.monotonic()
    assert slowly.cancel(job.id)
    assert ended(slowly.jobs, job.id) == Ended(JobState.CANCELLED)
    assert time.monotonic() - began < SOON
    assert slowly.jobs.written(job.id) == ""
    assert slowly.reply(job) is None
    assert phase(slowly) == ("warm", "instruct")
    usable_at_once(slowly)


def test_cancelling_in_the_queue(slowly: Client) -> None:
    running, waiting, last = chat(slowly), chat(slowly), chat(slowly, max_tokens=3)
    first(output(slowly.jobs, running.id), lambda item: isinstance(item, Text))
    assert [each.position for each in slowly.queue()] == [0, 1, 2]
    before = slowly.snapshot()
    assert slowly.cancel(waiting.id)
    assert ended(slowly.jobs, waiting.id) == Ended(JobState.CANCELLED)
    assert slowly.snapshot() == before
    assert [each.job.id for each in slowly.queue()] == [running.id, last.id]
    assert slowly.jobs.get(running.id).state is JobState.RUNNING
    assert slowly.cancel(running.id)
    assert ended(slowly.jobs, last.id).state is JobState.DONE
    assert slowly.reply(waiting) is None


def test_cancelling_a_job_never_stops_the_next(slowly: Client) -> None:
    """Each job is cancelled many times in a row."""
    for _ in range(5):
        running, following = chat(slowly), chat(slowly, max_tokens=3)
        first(output(slowly.jobs, running.id), lambda item: isinstance(item, Text))
        while slowly.cancel(running.id):
            pass
        assert ended(slowly.jobs, running.id).state is JobState.CANCELLED
        assert ended(slowly.jobs, following.id).state is JobState.DONE


def test_cancelling_twice_and_after_the_end(slowly: Client) -> None:
    job = chat(slowly)
    first(output(slowly.jobs, job.id), lambda item: isinstance(item, Text))
    slowly.cancel(job.id)
    slowly.cancel(job.id)
    assert [item for item in output(slowly.jobs, job.id) if isinstance(item, Ended)] == [Ended(JobState.CANCELLED)]
    assert slowly.cancel(job.id) is False
    finished = chat(slowly, max_tokens=2)
    done = ended(slowly.jobs, finished.id)
    assert slowly.cancel(finished.id) is False
    assert ended(slowly.jobs, finished.id) == done
    assert done.state is JobState.DONE
    usable_at_once(slowly)


def test_cancelling_an_unknown_job(slowly: Client) -> None:
    with pytest.raises(NotFoundError):
        slowly.cancel("nobody")


def test_cancelling_an_ingestion(slowly: Client) -> None:
    """Cancelled halfway, the entry stays saved and unindexed."""
    entry = slowly.journal.new_entry("\n\n".join(f"Paragraph {n}: a walk by the river. " * 12 for n in range(400)))
    events = follow_events(slowly.bus)
    assert isinstance(next(events), Snapshot)
    job = slowly.ingest(entry)
    first(events, lambda event: isinstance(event, JobProgress) and event.id == job.id)
    assert slowly.cancel(job.id)
    assert ended(slowly.jobs, job.id) == Ended(JobState.CANCELLED)
    assert slowly.journal.entry(entry.id).state is EntryState.SAVED
    slowly.journal.delete_entry(entry.id)
