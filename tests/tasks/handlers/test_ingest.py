"""Indexing several entries by one job: with the real worker, and with an entry that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from app.client import Client
from core.errors import CancelledError, CharlieError
from core.events.types import JobProgress, JobState, Snapshot
from core.library.records import Entry, EntryState
from core.library.vectors import stored_vectors
from core.llama.calls import never
from core.llama.embedding import EmbeddingModel
from core.llama.engine import load_as
from core.roles import Role
from states.manager import ModelManager
from tasks.handlers.context import TaskContext
from tasks.handlers.ingest import ENTRIES_PER_BATCH, ingest_entries
from tasks.handlers.search import search_journal
from tasks.jobs.records import Ended, Job
from tests.core.conftest import spec_of
from tests.tiny_models import tiny_models
from tests.waiting import ended, first, follow_events

POISON = "poison"
LONG = "\n\n".join(f"Paragraph {number}: a walk by the river. " * 12 for number in range(8))


def written(client: Client, texts: Sequence[str]) -> list[Entry]:
    return [client.journal.new_entry(text) for text in texts]


def states(client: Client, entries: Sequence[Entry]) -> list[EntryState]:
    return [client.journal.entry(entry.id).state for entry in entries]


def stored(client: Client) -> dict[bytes, bytes]:
    (key,) = client._raw.keys("charlie:vectors:*")
    found: dict[bytes, bytes] = client._raw.hgetall(key)
    return found


def test_one_job_for_many_entries_stores_the_same_vectors(served: Client) -> None:
    texts = [f"On day {number} I walked by the river, and it was cold." for number in range(2 * ENTRIES_PER_BATCH)]
    entries = written(served, [*texts, " ", LONG])
    gone = served.journal.new_entry("Nobody reads this.")
    served.journal.delete_entry(gone.id)
    ids = [entry.id for entry in entries]
    last = ended(served.jobs, served.ingest_all([gone.id, *ids]).id)
    assert last.state is JobState.DONE
    assert last.result is not None
    assert last.result["entries"] == len(entries)
    assert set(states(served, entries)) == {EntryState.INDEXED}
    together = {key: value for key, value in stored(served).items() if key.decode() in ids}
    assert {key.decode() for key in together} == set(ids)
    dimension = len(together[ids[0].encode()]) // 4 * 4 - 4
    rows = {id_: stored_vectors(record, dimension) for id_, record in together.items()}
    assert sum(map(len, rows.values())) == last.result["chunks"]
    assert together[ids[-2].encode()] == b""
    for entry in (entries[0], entries[ENTRIES_PER_BATCH], entries[-1]):
        assert ended(served.jobs, served.ingest(entry).id).state is JobState.DONE
        alone = stored_vectors(stored(served)[entry.id.encode()], dimension)
        assert np.allclose(rows[entry.id.encode()], alone, atol=5e-3)


def test_indexed_and_skipped_entries_are_left_out_of_a_batch(served: Client) -> None:
    found, left, new = written(served, ["Findable", "Left", "New"])
    assert ended(served.jobs, served.ingest(found).id).state is JobState.DONE
    served.skip(left)
    last = ended(served.jobs, served.ingest_all([found.id, left.id, new.id]).id)
    assert last.result is not None
    assert last.result["entries"] == 1
    assert states(served, [found, left, new]) == [EntryState.INDEXED, EntryState.SKIPPED, EntryState.INDEXED]
    again = ended(served.jobs, served.ingest(found).id)
    assert again.result is not None
    assert again.result["entries"] == 1


def test_a_batch_of_deleted_entries_ends_with_nothing_indexed(served: Client) -> None:
    last = ended(served.jobs, served.ingest_all(["nobody", "nothing"]).id)
    assert (last.state, last.result) == (JobState.DONE, {"entries": 0, "chunks": 0})


@pytest.mark.slow
def test_a_stopped_batch_keeps_the_entries_done(served: Client) -> None:
    """The rest is saved, and the next job indexes the rest alone."""
    entries = written(served, [LONG[: len(LONG) // 3]] * 4 * ENTRIES_PER_BATCH)
    ids = [entry.id for entry in entries]
    events = follow_events(served.bus)
    assert isinstance(next(events), Snapshot)
    job = served.ingest_all(ids)
    progress = first(
        events, lambda event: isinstance(event, JobProgress) and event.id == job.id and event.done > ENTRIES_PER_BATCH
    )
    assert isinstance(progress, JobProgress)
    assert progress.total == len(entries)
    assert served.cancel(job.id)
    assert ended(served.jobs, job.id) == Ended(JobState.CANCELLED)
    found = states(served, entries)
    done = found.count(EntryState.INDEXED)
    assert ENTRIES_PER_BATCH <= done < len(entries)
    assert found == [EntryState.INDEXED] * done + [EntryState.SAVED] * (len(entries) - done)
    for entry in entries[done + 5 :]:
        served.journal.delete_entry(entry.id)
    last = ended(served.jobs, served.ingest_all(ids).id)
    assert last.result is not None
    assert last.result["entries"] == 5
    for entry in entries:
        served.journal.delete_entry(entry.id)


class Failing(EmbeddingModel):
    """A tiny model, which fails on poisonous texts; `before` is called before each embedding."""

    before: Callable[[], object] = staticmethod(lambda: None)

    def embed(
        self, texts: Sequence[str], *, query: bool = False, cancelled: Callable[[], bool] = never
    ) -> NDArray[np.float32]:
        self.before()
        if any(POISON in text for text in texts):
            raise CharlieError("It is poisonous.")
        return super().embed(texts, query=query, cancelled=cancelled)


class Manager:
    """Holds one warm model, or fails to load it."""

    def __init__(self, model: Failing) -> None:
        self.model = model
        self.loads = True

    @contextmanager
    def lease(self, role: Role, cancelled: Callable[[], bool]) -> Iterator[EmbeddingModel]:  # noqa: ARG002
        if role is not Role.EMBEDDING:
            raise CharlieError("There is no reranker.")
        if not self.loads:
            raise CharlieError("It does not fit.")
        yield self.model

    def excluded_from_model(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.fixture
def context(client: Client) -> Iterator[TaskContext]:
    """A context in this process."""
    spec = spec_of(tiny_models()[Role.EMBEDDING], Role.EMBEDDING)
    whole = load_as(EmbeddingModel, spec)
    model = Failing(whole.llama, spec)
    yield TaskContext(
        cast("ModelManager", Manager(model)), client.bus, client.jobs, client.conversations, client.journal, client._raw
    )
    model.close()


def taken(client: Client, job: Job) -> Job:
    now = client.jobs.advance(job.id, JobState.WAITING, {JobState.QUEUED})
    assert now is not None
    return now


def manager(context: TaskContext) -> Manager:
    return cast("Manager", context.manager)


def test_a_failed_entry_does_not_stop_the_batch(client: Client, context: TaskContext) -> None:
    texts = [f"A walk on day {number}" for number in range(ENTRIES_PER_BATCH + 10)]
    texts[3] = texts[ENTRIES_PER_BATCH + 1] = POISON
    entries = written(client, texts)
    job = taken(client, client.ingest_all([entry.id for entry in entries]))
    with pytest.raises(CharlieError, match=r"^2 of 74 entries could not be indexed: It is poisonous"):
        ingest_entries(context, job)
    for entry, text in zip(entries, texts, strict=True):
        now = client.journal.entry(entry.id)
        wanted = (EntryState.FAILED, "It is poisonous.") if text == POISON else (EntryState.INDEXED, "")
        assert (now.state, now.error) == wanted


def test_a_single_failed_entry_fails_its_job(client: Client, context: TaskContext) -> None:
    (entry,) = written(client, [POISON])
    with pytest.raises(CharlieError, match=r"^It is poisonous"):
        ingest_entries(context, taken(client, client.ingest(entry)))
    assert states(client, [entry]) == [EntryState.FAILED]


def test_a_search_reports_entries_it_cannot_index(client: Client, context: TaskContext) -> None:
    bread, poison = written(client, ["Bread and rain", POISON])
    found = search_journal(context, taken(client, client.search("bread")))
    assert [hit["entry"] for hit in found["hits"]] == [bread.id]
    assert "1 of the entries could not be indexed: It is poisonous." in found["note"]
    assert states(client, [bread, poison]) == [EntryState.INDEXED, EntryState.FAILED]


def test_an_entry_deleted_during_indexing_leaves_no_vectors(client: Client, context: TaskContext) -> None:
    kept, gone = written(client, ["A walk", "A secret"])
    manager(context).model.before = lambda: client.journal.delete_entry(gone.id)
    ingest_entries(context, taken(client, client.ingest_all([kept.id, gone.id])))
    assert set(stored(client)) == {kept.id.encode()}


def test_an_entry_edited_during_indexing_stays_unindexed(client: Client, context: TaskContext) -> None:
    kept, changed = written(client, ["A walk", "Bread"])
    manager(context).model.before = lambda: client.journal.write_entry(changed.id, "Butter")
    ingest_entries(context, taken(client, client.ingest_all([kept.id, changed.id])))
    assert states(client, [kept, changed]) == [EntryState.INDEXED, EntryState.SAVED]


def test_a_failed_load_fails_the_whole_batch(client: Client, context: TaskContext) -> None:
    entries = written(client, ["A walk", "Bread"])
    manager(context).loads = False
    with pytest.raises(CharlieError, match="does not fit"):
        ingest_entries(context, taken(client, client.ingest_all([entry.id for entry in entries])))
    assert states(client, entries) == [EntryState.FAILED] * 2


def test_a_batch_stopped_before_its_first_entry_changes_nothing(client: Client, context: TaskContext) -> None:
    entries = written(client, ["A walk", "Bread"])
    context.stop.set()
    with pytest.raises(CancelledError):
        ingest_entries(context, taken(client, client.ingest_all([entry.id for entry in entries])))
    assert states(client, entries) == [EntryState.SAVED] * 2
