"""Jobs after the end of a worker, orderly or not. Real processes, real signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import (
    Event,
    JobChanged,
    JobKind,
    JobProgress,
    JobState,
    Snapshot,
    StateChanged,
    WorkerLost,
    WorkerUp,
)
from core.library.records import EntryState, MessageState
from core.library.vectors import stored_vectors
from core.roles import Role
from tasks.jobs.records import Ended, Job, Text
from tasks.worker.recovery import PARKED, SPLIT
from tests.parked import park
from tests.states.walks import state_changes
from tests.waiting import deadline, ended, first, follow_and_tick, output

LONG = "\n\n".join(f"Paragraph {n}: a walk by the river. " * 12 for n in range(200))


def worker_pid(client: Client) -> int:
    pid = client.snapshot().worker_pid
    assert pid is not None
    return pid


def up(events: Iterator[Event | Snapshot]) -> WorkerUp:
    """Wait for the next worker."""
    event = first(events, lambda event: isinstance(event, WorkerUp))
    assert isinstance(event, WorkerUp)
    return event


def serving(running: Runtime, client: Client) -> Iterator[Event | Snapshot]:
    """The events after the worker has begun to serve."""
    events = follow_and_tick(running, client.bus)
    snapshot = next(events)
    assert isinstance(snapshot, Snapshot)
    if snapshot.worker_pid is None:
        up(events)
    return events


def decoding(client: Client) -> Job:
    """A chat that would run for minutes and has written some text."""
    job = client.chat(client.conversations.new_conversation().id, "hello", max_tokens=10_000)
    out = output(client.jobs, job.id)
    for _ in range(3):
        assert isinstance(next(out), Text)
    return job


def die(client: Client, events: Iterator[Event | Snapshot]) -> None:
    """Kill the worker and wait for the next one."""
    pid = worker_pid(client)
    os.kill(pid, signal.SIGKILL)
    lost = first(events, lambda event: isinstance(event, WorkerLost))
    assert isinstance(lost, WorkerLost)
    assert (lost.pid, lost.reason) == (pid, "signal SIGKILL")
    assert up(events).pid == worker_pid(client) != pid


@pytest.mark.slow
def test_an_interrupted_ingestion_runs_again(runtime: tuple[Runtime, Client]) -> None:
    running, client = runtime
    events = serving(running, client)
    entry = client.journal.new_entry(LONG)
    job = client.ingest(entry)
    first(events, lambda event: isinstance(event, JobProgress) and event.id == job.id)
    assert client.journal.entry(entry.id).state is EntryState.INDEXING
    die(client, events)
    last = ended(client.jobs, job.id)
    assert last.state is JobState.DONE
    assert last.result is not None
    assert client.jobs.get(job.id).attempts == 1
    found = client.journal.entry(entry.id)
    assert (found.state, found.ingested) == (EntryState.INDEXED, 1)
    (key,) = client._raw.keys("charlie:vectors:*")
    stored = client._raw.hgetall(key)
    assert list(stored) == [entry.id.encode()]
    record = stored[entry.id.encode()]
    vectors = stored_vectors(record, len(record) // last.result["chunks"] - 4)
    assert len(vectors) == last.result["chunks"]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-2)
    assert client.queue() == []
    numbers = [event.seq for event in state_changes(client.bus)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow
def test_a_chat_is_interrupted_and_keeps_its_text(slow_runtime: tuple[Runtime, Client]) -> None:
    running, client = slow_runtime
    events = serving(running, client)
    job = decoding(client)
    die(client, events)
    assert ended(client.jobs, job.id).state is JobState.INTERRUPTED
    reply = client.reply(job)
    assert reply is not None
    assert reply.state is MessageState.INTERRUPTED
    assert reply.text == client.jobs.written(job.id) != ""
    assert client.snapshot().phase == "empty"
    again = client.regenerate(job.subject, max_tokens=3)
    assert ended(client.jobs, again.id).state is JobState.DONE
    assert [turn.id for turn in client.conversations.messages(job.subject)][1:] == [again.id]
    numbers = [event.seq for event in state_changes(client.bus)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_deleted_conversation_does_not_block_the_worker(
    slow_runtime: tuple[Runtime, Client],
) -> None:
    running, client = slow_runtime
    events = serving(running, client)
    job = decoding(client)
    client.conversations.delete_conversation(job.subject)
    die(client, events)
    assert ended(client.jobs, job.id).state is JobState.INTERRUPTED
    assert client.conversations.conversations() == []


def left_behind(client: Client, job: Job, attempts: int) -> None:
    """Leave the job as a worker does that dies during it."""
    assert client._queue.storage.dequeue() is not None
    client.jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED}, attempts=attempts)


@pytest.mark.parametrize("gone", [False, True])
def test_an_ingestion_that_kills_the_worker_three_times_is_parked(client: Client, gone: bool) -> None:
    entry = client.journal.new_entry("deadly")
    job = client.ingest(entry)
    left_behind(client, job, attempts=2)
    if gone:
        client.journal.delete_entry(entry.id)
    with Runtime(Client(client.settings, client.paths)):
        pass  # attached: it has no worker of its own
    assert client.jobs.get(job.id).state is JobState.RUNNING
    serve_once(client)
    last = ended(client.jobs, job.id)
    assert (last.state, last.error) == (JobState.INTERRUPTED, PARKED)
    assert f"charlie drop {job.id}" in last.hint
    assert [each.id for each in client.jobs.parked()] == [job.id] * (not gone)
    assert client._raw.ttl("charlie:set-aside") == (-2 if gone else -1)
    if not gone:
        found = client.journal.entry(entry.id)
        assert (found.state, found.error) == (EntryState.FAILED, PARKED)
    assert client.queue() == []


@pytest.mark.slow
def test_the_entry_that_kills_the_worker_is_found_in_a_batch(runtime: tuple[Runtime, Client]) -> None:
    """The worker dies three times in the same entry, which is parked; the others are indexed."""
    running, client = runtime
    events = serving(running, client)
    texts = ["A walk by the river", LONG, "Bread and rain"]
    entries = [client.journal.new_entry(text) for text in texts]
    batch = client.ingest_all([entry.id for entry in entries])
    behind = client.warm(Role.EMBEDDING)
    first(events, lambda event: isinstance(event, JobProgress) and event.id == batch.id)
    assert client.journal.entry(entries[1].id).state is EntryState.INDEXING
    die(client, events)
    assert ended(client.jobs, batch.id) == Ended(JobState.INTERRUPTED, error=SPLIT)
    parts = [f"{batch.id}-{number:06}" for number in range(3)]
    for _ in range(2):
        first(events, lambda event: isinstance(event, JobProgress) and event.id == parts[1])
        die(client, events)
    assert ended(client.jobs, behind.id).state is JobState.DONE
    assert [(job.id, job.subject, job.attempts) for job in client.jobs.parked()] == [(parts[1], entries[1].id, 2)]
    assert [ended(client.jobs, part).state for part in (parts[0], parts[2])] == [JobState.DONE] * 2
    found = [client.journal.entry(entry.id) for entry in entries]
    assert [(each.state, each.error) for each in found] == [
        (EntryState.INDEXED, ""),
        (EntryState.FAILED, PARKED),
        (EntryState.INDEXED, ""),
    ]
    begun = [event.id for event in client.bus.history() if isinstance(event, JobChanged) and event.state == "waiting"]
    assert list(dict.fromkeys(begun)) == [batch.id, *parts, behind.id]
    assert client.queue() == []


@pytest.mark.parametrize("left", [0, 1, 2])
def test_an_interrupted_batch_continues_with_the_entries_left(client: Client, left: int) -> None:
    """Entries that were indexed before the worker died are not indexed again."""
    entries = [client.journal.new_entry(text) for text in ("A walk", "Bread")]
    job = client.ingest_all([entry.id for entry in entries])
    left_behind(client, job, attempts=0)
    for entry in entries[left:]:
        client.journal.mark_entries({entry.id: 1}, EntryState.INDEXED)
    serve_once(client)
    assert ended(client.jobs, job.id).state is JobState.INTERRUPTED
    parts = client.jobs.find_all([f"{job.id}-{number:06}" for number in range(2)])
    assert [(part.subject, part.state, part.attempts) for part in parts] == [
        (entry.id, JobState.DONE, 1) for entry in entries[:left]
    ]
    assert client.queue() == []
    assert client._queue.storage.unacknowledged() == []


def test_a_cancelled_batch_is_not_resumed(client: Client) -> None:
    entries = [client.journal.new_entry(text) for text in ("A walk", "Bread")]
    job = client.ingest_all([entry.id for entry in entries])
    left_behind(client, job, attempts=0)
    client.cancel(job.id)
    serve_once(client)
    assert ended(client.jobs, job.id) == Ended(JobState.CANCELLED)
    assert [client.journal.entry(entry.id).state for entry in entries] == [EntryState.SAVED] * 2


def test_a_search_leaves_parked_and_skipped_entries_alone(served: Client) -> None:
    aside, dropped = (served.journal.new_entry(f"a deadly {word}") for word in ("river", "brook"))
    park(served, aside)
    ended(served.jobs, served.ingest(dropped).id)
    served.skip(dropped)
    found = ended(served.jobs, served.search("river").id)
    assert found.result is not None
    assert found.result["hits"] == []
    assert served.journal.entry(dropped.id).state is EntryState.SKIPPED
    for entry in (aside, served.journal.entry(dropped.id)):
        assert ended(served.jobs, served.ingest(entry).id).state is JobState.DONE
    assert served.jobs.parked() == []
    again = ended(served.jobs, served.search("river").id)
    assert again.result is not None
    assert {hit["entry"] for hit in again.result["hits"]} == {aside.id, dropped.id}


def serve_once(client: Client) -> None:
    """A worker on the running database, until it has done one job."""
    running = Runtime(client)
    running._start_worker()
    worker = running._worker
    assert worker is not None
    assert worker.stdin is not None
    try:
        out = deadline(client.follow(client.warm(Role.EMBEDDING).id, lambda: worker.poll() is not None))
        (last,) = out
        assert isinstance(last, Ended)
        assert last.state is JobState.DONE
        worker.terminate()
        assert worker.wait(20) == 0
    finally:
        worker.kill()
        worker.wait(20)
        worker.stdin.close()


@pytest.mark.parametrize("kind", [JobKind.SEARCH, JobKind.ASK, JobKind.WARM, JobKind.UNLOAD])
def test_jobs_that_can_be_repeated_are_interrupted(client: Client, kind: JobKind) -> None:
    job = client.submit(kind, {"query": "x", "limit": 1, "role": "instruct"})
    left_behind(client, job, attempts=0)
    assert [each.position for each in client.queue()] == [0]
    serve_once(client)
    last = ended(client.jobs, job.id)
    assert last.state is JobState.INTERRUPTED
    assert last.error
    assert last.hint
    assert client.queue() == []


def test_an_unknown_message_in_the_processing_list_is_removed(client: Client) -> None:
    client._raw.lpush(client._queue.storage.processing_key, b"\x80\x04strange")
    serve_once(client)
    assert client._queue.storage.unacknowledged() == []


def test_the_worker_ends_in_order(slow_runtime: tuple[Runtime, Client]) -> None:
    """The running job is interrupted, waiting jobs still wait, and no worker serves."""
    running, client = slow_runtime
    serving(running, client)
    job = decoding(client)
    waiting = [client.warm(Role.EMBEDDING), client.warm(Role.RERANKER)]
    worker = running._worker
    assert worker is not None
    worker.terminate()
    assert worker.wait(20) == 0
    assert ended(client.jobs, job.id) == Ended(JobState.INTERRUPTED)
    reply = client.reply(job)
    assert reply is not None
    assert (reply.state, reply.text) == (MessageState.INTERRUPTED, client.jobs.written(job.id))
    snapshot = client.snapshot()
    assert (snapshot.phase, snapshot.role, snapshot.worker_pid) == ("empty", None, None)
    last = next(event for event in client.bus.transitions(9) if isinstance(event, StateChanged))
    assert (last.trigger, last.seq) == ("unloaded", snapshot.seq)
    assert [client.jobs.get(each.id).state for each in waiting] == [JobState.QUEUED, JobState.QUEUED]
    assert [each.job.id for each in client.queue()] == [each.id for each in waiting]


def test_the_worker_runs_in_any_working_directory(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    """A package there with the name of one of ours is not run."""
    for name in ("tasks", "core", "states"):
        (tmp_path / "project" / name).mkdir(parents=True)
        (tmp_path / "project" / name / "__init__.py").write_text("raise SystemExit(99)\n")
    monkeypatch.chdir(tmp_path / "project")
    serve_once(client)
