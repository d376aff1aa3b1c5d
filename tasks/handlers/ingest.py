"""Indexes journal entries: chunks, vectors, and the state of each entry."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
import redis

from core.errors import CancelledError, CharlieError
from core.events.types import JobProgress
from core.library.chunking import split
from core.library.records import Entry, EntryState
from core.library.vectors import VectorStore
from core.llama.embedding import EmbeddingModel
from core.roles import Role
from tasks.handlers.context import TaskContext
from tasks.jobs.records import Job

log = logging.getLogger(__name__)

CHUNK_TOKENS = 128
"""An entry is embedded in chunks of at most this length, so that a search finds one sentence in a long entry."""
CHUNKS_PER_STEP = 64
"""Chunks embedded between two events of progress."""
ENTRIES_PER_BATCH = 64
"""Entries that are read, embedded and stored together."""


@dataclass(frozen=True, slots=True)
class IndexedBatch:
    """Entries indexed together, the number of their chunks, and why a failed entry failed."""

    entries: list[str]
    chunks: int
    error: Exception | None


def ingest_entries(context: TaskContext, job: Job) -> dict[str, Any]:
    """Split, embed and store a job's entries. Idempotent; a deleted entry is no error.

    Among several entries one that fails does not hold up the others; the job fails at its end.
    """
    left = unindexed(context, job)
    total, chunks, failures = len(left), 0, list[Exception]()
    if not left:
        return {"entries": 0, "chunks": 0}
    context.journal.mark_entries(left, EntryState.INDEXING)
    try:
        with context.manager.lease(Role.EMBEDDING, context.stop.is_set) as model:
            context.begin(job)
            for done in index_entries(context, job, model, list(left)):
                for id_ in done.entries:
                    del left[id_]
                chunks += done.chunks
                failures += [done.error] if done.error else []
            starter = model.spec.starter
    except CancelledError:
        context.journal.mark_entries(left, EntryState.SAVED)
        raise
    except redis.RedisError:
        raise
    except Exception as error:
        context.journal.mark_entries(left, EntryState.FAILED, str(error))
        raise
    if failures and total == 1:
        raise failures[0]
    if failures:
        raise CharlieError(f"{len(failures):,} of {total:,} entries could not be indexed: {failures[0]}")
    return {"entries": total, "chunks": chunks, "starter": starter}


def unindexed(context: TaskContext, job: Job) -> dict[str, int]:
    """The entries of an ingestion that are still to be indexed, with their revisions.

    An indexed entry is indexed again only if the job is for it alone.
    """
    ids: list[str] = job.args["entries"]
    done = {EntryState.SKIPPED} if len(ids) == 1 else {EntryState.SKIPPED, EntryState.INDEXED}
    entries = (entry for batch in _batches(ids) for entry in context.journal.entries_of(batch))
    return {entry.id: entry.revision for entry in entries if entry.state not in done}


def index_entries(context: TaskContext, job: Job, model: EmbeddingModel, ids: Sequence[str]) -> Iterator[IndexedBatch]:
    """Split, embed and store entries, those of a batch in the same decodes.

    If a batch fails, its entries are tried one by one, so that only the faulty ones fail.
    """
    batches, done = list(_batches(ids))[::-1], 0
    while batches:
        batch = batches.pop()
        entries = [each for each in context.journal.entries_of(batch) if each.state is not EntryState.SKIPPED]
        chunks, failure = 0, None
        try:
            chunks = _index(context, job, model, entries, done, len(ids))
        except (CancelledError, redis.RedisError):
            raise
        except Exception as error:  # whatever is wrong with one entry, the others are indexed
            if len(batch) > 1:
                batches += [[id_] for id_ in reversed(batch)]
                continue
            log.warning("The entry %s could not be indexed.", batch[0], exc_info=error)
            context.journal.mark_entry(entries[0].id, entries[0].revision, EntryState.FAILED, str(error))
            failure = error
        done += len(batch)
        yield IndexedBatch(batch, chunks, failure)


def _index(
    context: TaskContext, job: Job, model: EmbeddingModel, entries: Sequence[Entry], done: int, total: int
) -> int:
    """Index entries; returns the number of their chunks. `done` of the job's `total` entries came before.

    Progress counts entries, or the chunks of a single long entry.
    """
    limit = min(CHUNK_TOKENS, model.spec.context_length)
    chunks = [split(entry.text, model.count_tokens, limit) for entry in entries]
    texts, ends = list(chain.from_iterable(chunks)), list(accumulate(map(len, chunks)))
    vectors = np.empty((len(texts), model.dimension), np.float32)
    for start in range(0, len(texts), CHUNKS_PER_STEP):
        end = min(start + CHUNKS_PER_STEP, len(texts))
        vectors[start:end] = model.embed(texts[start:end], cancelled=context.stop.is_set)
        if total > 1:
            context.bus.publish(JobProgress(job.id, "embed", done + bisect_right(ends, end), total))
        elif len(texts) > CHUNKS_PER_STEP:
            context.bus.publish(JobProgress(job.id, "embed", end, len(texts)))
    revisions = {entry.id: entry.revision for entry in entries}
    rows = [vectors[start:end] for start, end in pairwise([0, *ends])]
    store = vector_store(context, model)
    store.put(dict(zip(revisions, zip(chunks, rows, strict=True), strict=True)))
    context.journal.mark_entries(revisions, EntryState.INDEXED)
    # An entry deleted in the meantime leaves nothing behind.
    exist = context.journal.exist(list(revisions))
    store.forget([id_ for id_, exists in zip(revisions, exist, strict=True) if not exists])
    return len(texts)


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    return (list(ids[start : start + ENTRIES_PER_BATCH]) for start in range(0, len(ids), ENTRIES_PER_BATCH))


def vector_store(context: TaskContext, model: EmbeddingModel) -> VectorStore:
    """The vectors made by this model. They are read from the database once and kept while the model stays the same."""
    if model.id not in context.stores:
        context.stores.clear()
        context.stores[model.id] = VectorStore(context.raw, model.id, model.dimension)
    return context.stores[model.id]
