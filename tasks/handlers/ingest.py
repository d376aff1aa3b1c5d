"""Indexes journal entries: passages, vectors, and the state of each entry."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
import redis

from core.database import keys
from core.errors import CancelledError, CharlieError
from core.events.types import JobProgress
from core.library.chunking import passages
from core.library.records import Entry, EntryState, batches
from core.library.vectors import VectorStore
from core.llama.calls import never
from core.llama.embedding import EmbeddingModel
from core.model_files.fingerprint import embedding_id
from core.model_files.spec import ModelSpec
from core.roles import Role
from tasks.handlers.context import TaskContext, stop_condition
from tasks.handlers.feel import feel
from tasks.jobs.records import Job

log = logging.getLogger(__name__)

PASSAGES_PER_STEP = 64
"""Passages embedded between two events of progress."""
ENTRIES_PER_BATCH = 64
"""Entries that are read, embedded and stored together."""


@dataclass(frozen=True, slots=True)
class IndexedBatch:
    """Entries indexed together, the number of their passages, and why a failed entry failed."""

    entries: list[str]
    chunks: int
    error: Exception | None


def ingest_entries(context: TaskContext, job: Job, others_wait: Callable[[], bool] = never) -> dict[str, Any]:
    """Split, embed and store a job's entries. Idempotent; a deleted entry is no error.

    Among several entries one that fails does not hold up the others; the job fails at its end. A job that indexes
    entries again ends when `others_wait`: its remaining entries stay INDEXING.
    """
    again = "left" in job.args
    stop = stop_condition(context, others_wait) if again else context.stop.is_set
    left = unindexed(context, job)
    total, chunks, failures = len(left), 0, list[Exception]()
    if not left:
        return {"entries": 0, "chunks": 0}
    context.journal.mark_entries(left, EntryState.INDEXING)
    try:
        with context.manager.lease(Role.EMBEDDING, stop) as model:
            context.begin(job)
            for done in index_entries(context, job, model, list(left), stop):
                for id_ in done.entries:
                    del left[id_]
                chunks += done.chunks
                failures += [done.error] if done.error else []
    except CancelledError:
        if again and not context.stop.is_set():
            return {"entries": total - len(left), "chunks": chunks}
        context.journal.mark_entries(left, EntryState.SAVED)
        raise
    except redis.RedisError:
        raise
    except Exception as error:
        context.journal.mark_entries({} if again else left, EntryState.FAILED, str(error))
        raise
    if failures and total == 1:
        raise failures[0]
    if failures:
        raise CharlieError(f"{len(failures):,} of {total:,} entries could not be indexed: {failures[0]}")
    return {"entries": total, "chunks": chunks}


def unindexed(context: TaskContext, job: Job) -> dict[str, int]:
    """The entries of an ingestion that are still to be indexed, with their revisions.

    An indexed entry is indexed again only if the job is for it alone, or for entries that lack vectors.
    """
    ids: list[str] = job.args["entries"]
    again = len(ids) == 1 or "left" in job.args
    done = {EntryState.SKIPPED} if again else {EntryState.SKIPPED, EntryState.INDEXED}
    entries = (entry for batch in batches(ids, ENTRIES_PER_BATCH) for entry in context.journal.entries_of(batch))
    return {entry.id: entry.revision for entry in entries if entry.state not in done}


def without_vectors(context: TaskContext, spec: ModelSpec) -> list[str]:
    """The indexed entries that have no vectors of this embedding model, newest first. Any thread may call it.

    After another model or another format of vectors; and those left by a job that made room for others.
    """
    held = {id_.decode() for id_ in context.raw.hkeys(keys.vectors(embedding_id(spec)))}
    missing = [id_ for id_ in context.journal.entry_ids() if id_ not in held]
    entries = (entry for batch in batches(missing, ENTRIES_PER_BATCH) for entry in context.journal.entries_of(batch))
    return [entry.id for entry in entries if entry.state in (EntryState.INDEXED, EntryState.INDEXING)]


def index_entries(
    context: TaskContext, job: Job, model: EmbeddingModel, ids: Sequence[str], stop: Callable[[], bool]
) -> Iterator[IndexedBatch]:
    """Split, embed and store entries, those of a batch in the same decodes, until `stop()`.

    If a batch fails, its entries are tried one by one, so that only the faulty ones fail.
    """
    waiting, done = list(batches(ids, ENTRIES_PER_BATCH))[::-1], 0
    while waiting:
        batch = waiting.pop()
        entries = [each for each in context.journal.entries_of(batch) if each.state is not EntryState.SKIPPED]
        chunks, failure = 0, None
        try:
            chunks = _index(context, job, model, entries, done, len(ids) + job.args.get("left", 0), stop)
        except (CancelledError, redis.RedisError):
            raise
        except Exception as error:  # whatever is wrong with one entry, the others are indexed
            if len(batch) > 1:
                waiting += [[id_] for id_ in reversed(batch)]
                continue
            log.warning("The entry %s could not be indexed.", batch[0], exc_info=error)
            context.journal.mark_entries({entries[0].id: entries[0].revision}, EntryState.FAILED, str(error))
            failure = error
        done += len(batch)
        yield IndexedBatch(batch, chunks, failure)


def _index(
    context: TaskContext,
    job: Job,
    model: EmbeddingModel,
    entries: Sequence[Entry],
    done: int,
    total: int,
    stop: Callable[[], bool],
) -> int:
    """Index entries; returns the number of their passages. `done` of the job's `total` entries came before.

    Progress counts entries, or the passages of a single long entry.
    """
    parts = [[entry.text[start:end] for start, end in passages(entry.text)] for entry in entries]
    texts, ends = list(chain.from_iterable(parts)), list(accumulate(map(len, parts)))
    vectors = np.empty((len(texts), model.dimension), np.float32)
    for start in range(0, len(texts), PASSAGES_PER_STEP):
        end = min(start + PASSAGES_PER_STEP, len(texts))
        vectors[start:end] = model.embed(texts[start:end], cancelled=stop)
        if total > 1:
            context.bus.publish(JobProgress(job.id, "embed", done + bisect_right(ends, end), total))
        elif len(texts) > PASSAGES_PER_STEP:
            context.bus.publish(JobProgress(job.id, "embed", end, len(texts)))
    revisions = {entry.id: entry.revision for entry in entries}
    rows = [vectors[start:end] for start, end in pairwise([0, *ends])]
    store = vector_store(context, model)
    store.put(dict(zip(revisions, rows, strict=True)))
    context.journal.mark_entries(revisions, EntryState.INDEXED, felt=feel(context, model, entries, rows))
    # An entry deleted in the meantime leaves nothing behind.
    exist = context.journal.exist(list(revisions))
    store.forget([id_ for id_, exists in zip(revisions, exist, strict=True) if not exists])
    return len(texts)


def vector_store(context: TaskContext, model: EmbeddingModel) -> VectorStore:
    """The vectors made by this model. They are read from the database once and kept while the model stays the same."""
    if model.id not in context.stores:
        context.stores.clear()
        with context.manager.excluded_from_model():
            context.stores[model.id] = VectorStore(context.raw, model.id, model.dimension)
        context.stores[model.id].forget_older()
    return context.stores[model.id]
