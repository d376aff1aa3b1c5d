"""Entries that are read in by one job: with the real worker, and what becomes of one that fails among others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from app.client import Client
from core.embedder import EmbeddingModel
from core.engine import load_embedding
from core.errors import CancelledError, CharlieError
from core.events import JobProgress, Snapshot
from core.library import Entry, EntryState
from core.native import never
from core.settings import Role
from core.starter import path_of
from states.manager import ModelManager
from tasks.jobs import Ended, Job, JobKind, JobState
from tasks.journal import TOGETHER, ingest_entries, search_journal
from tasks.tools import Tools
from tests.core.conftest import spec_of
from tests.waiting import ended, first, happening

POISON = "poison"
LONG = "\n\n".join(f"Paragraph {number}: a walk by the river. " * 12 for number in range(8))


def written(client: Client, texts: Sequence[str]) -> list[Entry]:
    return [client.library.new_entry(text) for text in texts]


def states(client: Client, entries: Sequence[Entry]) -> list[EntryState]:
    return [client.library.entry(entry.id).state for entry in entries]


def stored(client: Client) -> dict[bytes, bytes]:
    (key,) = client._raw.keys("charlie:vectors:*")
    found: dict[bytes, bytes] = client._raw.hgetall(key)
    return found


def test_many_in_one_job_as_one_by_one(served: Client) -> None:
    texts = [f"On day {number} I walked by the river, and it was cold." for number in range(2 * TOGETHER)]
    entries = written(served, [*texts, " ", LONG])
    gone = served.library.new_entry("Nobody reads this.")
    served.library.delete_entry(gone.id)
    ids = [entry.id for entry in entries]
    last = ended(served.jobs, served.ingest_all([gone.id, *ids]).id)
    assert last.state is JobState.DONE
    assert last.result is not None
    assert last.result["entries"] == len(entries)
    assert set(states(served, entries)) == {EntryState.FINDABLE}
    together = {key: value for key, value in stored(served).items() if key.decode() in ids}
    assert {key.decode() for key in together} == set(ids)
    dimension = len(together[ids[0].encode()])
    assert sum(map(len, together.values())) == last.result["chunks"] * dimension
    assert together[ids[-2].encode()] == b""
    for entry in (entries[0], entries[TOGETHER], entries[-1]):
        assert ended(served.jobs, served.ingest(entry).id).state is JobState.DONE
        alone = np.frombuffer(stored(served)[entry.id.encode()], "<f4")
        assert np.allclose(np.frombuffer(together[entry.id.encode()], "<f4"), alone, atol=1e-3)


def test_what_is_findable_already_or_left_is_not_read_in_with_others(served: Client) -> None:
    found, left, new = written(served, ["Findable", "Left", "New"])
    assert ended(served.jobs, served.ingest(found).id).state is JobState.DONE
    served.drop(left)
    last = ended(served.jobs, served.ingest_all([found.id, left.id, new.id]).id)
    assert last.result is not None
    assert last.result["entries"] == 1
    assert states(served, [found, left, new]) == [EntryState.FINDABLE, EntryState.DROPPED, EntryState.FINDABLE]
    again = ended(served.jobs, served.ingest(found).id)
    assert again.result is not None
    assert again.result["entries"] == 1


def test_nothing_is_left_of_them(served: Client) -> None:
    last = ended(served.jobs, served.ingest_all(["nobody", "nothing"]).id)
    assert (last.state, last.result) == (JobState.DONE, {"entries": 0, "chunks": 0})


def test_a_job_that_an_earlier_version_has_queued(served: Client) -> None:
    entry = served.library.new_entry("From before")
    job = served.submit(JobKind.INGEST, {"entry": entry.id}, entry.id)
    assert ended(served.jobs, job.id).state is JobState.DONE
    assert served.library.entry(entry.id).state is EntryState.FINDABLE


def test_stopped_in_the_middle(served: Client) -> None:
    """What was read in is findable, the rest is saved, and asked for again the rest alone is read in."""
    entries = written(served, [LONG] * 4 * TOGETHER)
    ids = [entry.id for entry in entries]
    events = happening(served.bus)
    assert isinstance(next(events), Snapshot)
    job = served.ingest_all(ids)
    progress = first(
        events, lambda event: isinstance(event, JobProgress) and event.id == job.id and event.done > TOGETHER
    )
    assert isinstance(progress, JobProgress)
    assert progress.total == len(entries)
    assert served.cancel(job.id)
    assert ended(served.jobs, job.id) == Ended(JobState.CANCELLED)
    found = states(served, entries)
    done = found.count(EntryState.FINDABLE)
    assert TOGETHER <= done < len(entries)
    assert found == [EntryState.FINDABLE] * done + [EntryState.SAVED] * (len(entries) - done)
    for entry in entries[done + 5 :]:
        served.library.delete_entry(entry.id)
    last = ended(served.jobs, served.ingest_all(ids).id)
    assert last.result is not None
    assert last.result["entries"] == 5
    for entry in entries:
        served.library.delete_entry(entry.id)


class Failing(EmbeddingModel):
    """The starter, except that it cannot do with some texts; `before` is called before each embedding."""

    before: Callable[[], object] = staticmethod(lambda: None)

    def embed(self, texts: Sequence[str], *, cancelled: Callable[[], bool] = never) -> NDArray[np.float32]:
        self.before()
        if any(POISON in text for text in texts):
            raise CharlieError("It is poisonous.")
        return super().embed(texts, cancelled=cancelled)


class Manager:
    """Has one model, which is warm, or cannot be loaded."""

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


@pytest.fixture
def tools(client: Client) -> Iterator[Tools]:
    """A worker's hands, in this process."""
    spec = spec_of(path_of(Role.EMBEDDING), Role.EMBEDDING)
    whole = load_embedding(spec)
    model = Failing(whole.llama, spec)
    yield Tools(cast("ModelManager", Manager(model)), client.bus, client.jobs, client.library, client._raw)
    model.close()


def taken(client: Client, job: Job) -> Job:
    now = client.jobs.advance(job.id, JobState.WAITING, {JobState.QUEUED})
    assert now is not None
    return now


def manager(tools: Tools) -> Manager:
    return cast("Manager", tools.manager)


def test_one_that_fails_does_not_hold_up_the_others(client: Client, tools: Tools) -> None:
    texts = [f"A walk on day {number}" for number in range(TOGETHER + 10)]
    texts[3] = texts[TOGETHER + 1] = POISON
    entries = written(client, texts)
    job = taken(client, client.ingest_all([entry.id for entry in entries]))
    with pytest.raises(CharlieError, match=r"^2 of 74 entries could not be read in: It is poisonous"):
        ingest_entries(tools, job)
    for entry, text in zip(entries, texts, strict=True):
        now = client.library.entry(entry.id)
        wanted = (EntryState.FAILED, "It is poisonous.") if text == POISON else (EntryState.FINDABLE, "")
        assert (now.state, now.error) == wanted


def test_one_that_was_asked_for_alone_fails_with_its_own_words(client: Client, tools: Tools) -> None:
    (entry,) = written(client, [POISON])
    with pytest.raises(CharlieError, match=r"^It is poisonous"):
        ingest_entries(tools, taken(client, client.ingest(entry)))
    assert states(client, [entry]) == [EntryState.FAILED]


def test_a_search_tells_of_what_it_cannot_read_in(client: Client, tools: Tools) -> None:
    bread, poison = written(client, ["Bread and rain", POISON])
    found = search_journal(tools, taken(client, client.search("bread")))
    assert [hit["entry"] for hit in found["hits"]] == [bread.id]
    assert "1 of the entries could not be read in: It is poisonous." in found["note"]
    assert states(client, [bread, poison]) == [EntryState.FINDABLE, EntryState.FAILED]


def test_one_that_is_deleted_meanwhile_leaves_nothing(client: Client, tools: Tools) -> None:
    kept, gone = written(client, ["A walk", "A secret"])
    manager(tools).model.before = lambda: client.library.delete_entry(gone.id)
    ingest_entries(tools, taken(client, client.ingest_all([kept.id, gone.id])))
    assert set(stored(client)) == {kept.id.encode()}


def test_one_that_is_written_meanwhile_is_not_findable_by_its_new_text(client: Client, tools: Tools) -> None:
    kept, changed = written(client, ["A walk", "Bread"])
    manager(tools).model.before = lambda: client.library.write_entry(changed.id, "Butter")
    ingest_entries(tools, taken(client, client.ingest_all([kept.id, changed.id])))
    assert states(client, [kept, changed]) == [EntryState.FINDABLE, EntryState.SAVED]


def test_a_model_that_does_not_load_fails_them_all(client: Client, tools: Tools) -> None:
    entries = written(client, ["A walk", "Bread"])
    manager(tools).loads = False
    with pytest.raises(CharlieError, match="does not fit"):
        ingest_entries(tools, taken(client, client.ingest_all([entry.id for entry in entries])))
    assert states(client, entries) == [EntryState.FAILED] * 2


def test_stopped_before_anything_is_read_in(client: Client, tools: Tools) -> None:
    entries = written(client, ["A walk", "Bread"])
    tools.stop.set()
    with pytest.raises(CancelledError):
        ingest_entries(tools, taken(client, client.ingest_all([entry.id for entry in entries])))
    assert states(client, entries) == [EntryState.SAVED] * 2
