"""Entries whose vectors are of an earlier format are indexed again in the background."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.database import keys
from core.events.types import JobChanged, JobKind, JobProgress, JobState, Snapshot
from core.library.records import Entry, EntryState
from core.model_files.fingerprint import embedding_id
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tasks.worker import idle_work
from tasks.worker.runner import Runner
from tests.core.database.test_schema import VERSION_1
from tests.tasks.conftest import context_here
from tests.waiting import ended, first, follow_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLDER = "tiny-embedding.gguf:0123456789abcdef"


@pytest.mark.slow
def test_a_library_of_the_version_before_is_indexed_again_while_words_are_found(home: Path) -> None:
    """With the real worker, which nobody asks for anything."""
    assert home
    paths = find_paths()
    paths.make()
    shutil.copy(VERSION_1, paths.database / "appendonly.aof")
    client = Client(load_settings(), paths)
    with Runtime(client, worker=False):
        assert client._raw.keys("charlie:vectors:*") == []  # those of the starter model are dropped
        indexed = {entry.id.encode() for entry in client.journal.entries() if entry.state is EntryState.INDEXED}
    with Runtime(client):
        events = follow_events(client.bus)
        assert isinstance(next(events), Snapshot)
        event = first(events, lambda event: isinstance(event, JobChanged) and event.job is JobKind.INGEST)
        (found,), _ = client.journal.read_entries(0, 10, "HERON")
        assert isinstance(event, JobChanged)
        done = ended(client.jobs, event.id)
        assert done.result is not None
        assert (done.state, done.result["entries"]) == (JobState.DONE, len(indexed))
        (after,) = client._raw.keys("charlie:vectors:*")
        assert set(client._raw.hkeys(after)) == indexed
        assert client._raw.smembers(keys.INDEXES) == {after}
        result = ended(client.jobs, client.search("a walk by the river").id).result
        assert result is not None
        assert found.id in {hit["entry"] for hit in result["hits"]}


# In this process, where the test decides what runs next.


@pytest.fixture
def work(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """A runner in this process, which runs a job when the test says so, and needs no rest."""
    monkeypatch.setattr(idle_work, "REST_SECONDS", 0.0)
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "exclusive")
    yield (made := runner(client))
    made._context.manager.unload_all("the test is over")


def runner(client: Client) -> Runner:
    return Runner(context_here(client))


def run_next(work: Runner, client: Client) -> JobKind:
    task = work.queue.dequeue()
    work.queue.execute(task)
    return client.jobs.get(task.id).kind


def older(client: Client, work: Runner, count: int) -> list[Entry]:
    """Indexed entries whose vectors have the key of an earlier format."""
    entries = [client.journal.new_entry(f"Walk {number} by the river") for number in range(count)]
    client.ingest_all([entry.id for entry in entries])
    assert run_next(work, client) is JobKind.INGEST
    while queued(client, work) == [JobKind.FEEL]:  # the examples of feelings get vectors, once
        run_next(work, client)
    manager = work._context.manager
    manager.unload_all("idle")
    while client.journal.take_undescribed():  # nothing else is to do in idle time
        pass
    work._context.stores.clear()
    work.idle_work._indexed_with = None
    now = embedding_id(manager.wanted(Role.EMBEDDING))
    client.redis.rename(keys.vectors(now), keys.vectors(OLDER))
    client.redis.srem(keys.INDEXES, keys.vectors(now))
    client.redis.sadd(keys.INDEXES, keys.vectors(OLDER))
    return entries


def queued(client: Client, work: Runner) -> list[JobKind]:
    """What waits after the worker was idle."""
    work.idle_work.queue_next(work.busy)
    return [each.job.kind for each in client.queue()]


def states(client: Client) -> set[EntryState]:
    return {entry.state for entry in client.journal.entries()}


def test_the_progress_counts_all_that_are_left(client: Client, work: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_work, "ENTRIES_PER_JOB", 64)
    entries = older(client, work, 100)
    events = follow_events(client.bus)
    assert isinstance(next(events), Snapshot)
    for left in (100, 36):
        assert queued(client, work) == [JobKind.INGEST]
        assert run_next(work, client) is JobKind.INGEST
        progress = first(events, lambda event: isinstance(event, JobProgress))
        assert isinstance(progress, JobProgress)
        assert progress.total == left
    assert queued(client, work) == []
    (vectors,) = client.redis.keys("charlie:vectors:*")
    assert vectors != keys.vectors(OLDER)
    assert set(client.redis.hkeys(vectors)) == {entry.id for entry in entries}
    assert states(client) == {EntryState.INDEXED}


def test_other_jobs_go_first(client: Client, work: Runner) -> None:
    older(client, work, 80)
    assert queued(client, work) == [JobKind.INGEST]
    client.plan(Role.INSTRUCT)
    assert run_next(work, client) is JobKind.INGEST
    assert states(client) == {EntryState.INDEXING}
    assert client.snapshot().phase == "empty"
    assert queued(client, work) == [JobKind.PLAN]
    run_next(work, client)
    assert queued(client, work) == [JobKind.INGEST]
    run_next(work, client)
    assert states(client) == {EntryState.INDEXED}
    assert queued(client, work) == []


def test_no_other_model_is_unloaded_for_it(client: Client, work: Runner) -> None:
    older(client, work, 1)
    client.warm(Role.INSTRUCT)
    run_next(work, client)
    assert queued(client, work) == []
    work._context.manager.unload_all("idle")
    assert queued(client, work) == [JobKind.INGEST]


def test_where_both_fit_another_model_may_be_warm(
    client: Client, work: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "fitting")
    with client.paths.config_file.open("a") as file:
        file.write("\n")  # the settings are read again with their file
    older(client, work, 1)
    client.warm(Role.INSTRUCT)
    run_next(work, client)
    assert queued(client, work) == [JobKind.INGEST]
    run_next(work, client)
    assert {each.role for each in client.snapshot().warm} == {"instruct", "embedding"}


def test_failed_and_skipped_entries_are_left_alone(client: Client, work: Runner) -> None:
    failed, skipped, saved = (entry for entry in older(client, work, 3))
    client.journal.mark_entries({failed.id: 1}, EntryState.FAILED, "It is too odd.")
    client.skip(skipped)
    client.journal.mark_entries({saved.id: 1}, EntryState.SAVED)
    assert queued(client, work) == []


@pytest.mark.parametrize("how", ["cancelled", "failed", "unloaded"])
def test_it_pauses_until_a_model_is_used_again(client: Client, work: Runner, how: str) -> None:
    older(client, work, 2)
    if how == "unloaded":
        client.unload()
        run_next(work, client)
    else:
        assert queued(client, work) == [JobKind.INGEST]
        if how == "cancelled":
            client.cancel(client.queue()[0].job.id)
        else:
            client.paths.config_file.write_text("[memory]\nram_reserve = '900GiB'\n")
            run_next(work, client)
            assert states(client) == {EntryState.INDEXING}
            client.paths.config_file.unlink()
    assert queued(client, work) == []
    if how != "cancelled":
        client.warm(Role.EMBEDDING)
        run_next(work, client)
        assert queued(client, work) == [JobKind.INGEST]


def test_a_search_finds_all_and_leaves_nothing_to_do(client: Client, work: Runner) -> None:
    entries = older(client, work, 3)
    job = client.search("a walk", limit=5)
    run_next(work, client)
    result = ended(client.jobs, job.id).result
    assert result is not None
    assert {hit["entry"] for hit in result["hits"]} == {entry.id for entry in entries}
    assert queued(client, work) == []


def test_a_broken_configuration_is_reported_once(
    client: Client, work: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    older(client, work, 1)
    client.paths.config_file.write_text('[embedding]\nfile = "/nowhere.gguf"\n')
    for _ in range(3):
        assert queued(client, work) == []
    assert caplog.text.count("Nothing is done in idle time") == 1
