"""Searches the journal by meaning; the reranker sorts the hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from core.errors import CancelledError, CharlieError
from core.library.records import EntryState
from core.roles import Role
from tasks.handlers.context import TaskContext
from tasks.handlers.ingest import index_entries, vector_store
from tasks.jobs.records import Hit, Hits, Job

CANDIDATES_PER_HIT = 4
"""The reranker chooses each hit from this many candidates."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best entries, best first; a note on the search for its reader; whether a starter model made it."""

    hits: list[Hit]
    note: str
    starter: bool


def search_journal(context: TaskContext, job: Job) -> dict[str, Any]:
    """Stream the entries nearest to a query, then the same entries sorted by the reranker."""
    found = find_entries(context, job, job.args["query"], job.args["limit"])
    hits = [asdict(hit) for hit in found.hits]
    return {"query": job.args["query"], "hits": hits, "note": found.note, "starter": found.starter}


def find_entries(context: TaskContext, job: Job, query: str, limit: int) -> Found:
    with context.manager.lease(Role.EMBEDDING, context.stop.is_set) as model:
        context.begin(job)
        store = vector_store(context, model)
        notes = []
        if missing := store.follow(context.journal):
            # Entries without vectors of this model are indexed now; a parked one could end the worker again.
            parked = {each.subject for each in context.jobs.parked()}
            indexed = index_entries(
                context, job, model, [id_ for id_ in missing if id_ not in parked], context.stop.is_set
            )
            if failures := [done.error for done in indexed if done.error]:
                notes.append(f"{len(failures):,} of the entries could not be indexed: {failures[0]}")
        near = store.nearest(model.embed([query], query=True)[0], limit * CANDIDATES_PER_HIT)
        room, starter = model.spec.context_length, model.spec.starter
        if model.count_tokens(query, query=True) > room:
            notes.append(f"The query is longer than {room:,} tokens: only its beginning was used.")
    entries = context.journal.entries_of([hit.entry for hit in near])
    shown = {entry.id: entry for entry in entries if entry.state is not EntryState.SKIPPED}
    found = [
        Hit(hit.entry, shown[hit.entry].title, hit.chunk, round(hit.similarity, 4), None,
            max(0, shown[hit.entry].text.find(hit.chunk)), (0, len(hit.chunk)))
        for hit in near if hit.entry in shown
    ]  # fmt: skip
    context.jobs.write(job.id, Hits(tuple(found[:limit]), reranked=False))
    if found:
        try:
            found = _rerank(context, query, found)
        except CancelledError:
            raise
        except CharlieError as error:
            notes.append(f"Sorted by similarity alone: {error}")
        else:
            context.jobs.write(job.id, Hits(tuple(found[:limit]), reranked=True))
    return Found(found[:limit], " ".join(notes), starter)


def _rerank(context: TaskContext, query: str, found: Sequence[Hit]) -> list[Hit]:
    with context.manager.lease(Role.RERANKER, context.stop.is_set) as model:
        scores = model.score(query, [hit.chunk for hit in found], cancelled=context.stop.is_set)
    scored = [replace(hit, relevance=round(score, 4)) for hit, score in zip(found, scores, strict=True)]
    return sorted(scored, key=lambda hit: (hit.relevance or 0, hit.similarity), reverse=True)
