"""Searches the journal by words and by meaning; a reranker, where one is configured, sorts the hits."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from core.database import keys
from core.errors import CancelledError, CharlieError, NoModelError
from core.events.types import JobProgress
from core.library.vectors import Nearest
from core.library.word_index import content_words
from core.roles import Role
from tasks.handlers.context import TaskContext
from tasks.handlers.dates import find_span
from tasks.handlers.ingest import index_entries, vector_store
from tasks.handlers.relevance import covered_share, is_nothing_near, rank, refine, weights_of, with_texts
from tasks.jobs.records import Hit, Hits, Job

CANDIDATES_PER_HIT = 4
"""Each hit is chosen from this many entries by their words, and as many by their meaning."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best entries, best first; a note on the search for its reader; whether none seems to have what is sought."""

    hits: list[Hit]
    note: str
    nothing_near: bool


def search_journal(context: TaskContext, job: Job) -> dict[str, Any]:
    """Stream the entries that have the words of a query, then the best by words and meaning, then these reranked."""
    return {"query": job.args["query"], **asdict(find_entries(context, job, job.args["query"], job.args["limit"]))}


def find_entries(context: TaskContext, job: Job, query: str, limit: int) -> Found:
    index, notes, count = context.words, list[str](), limit * CANDIDATES_PER_HIT
    with context.manager.excluded_from_model():
        took = partial(JobProgress, job.id, "embed")
        index.follow(context.journal, lambda *done: context.bus.publish(took(*done)), context.stop.is_set)
        query, among = _within_span(context, query, notes)
    words = content_words(query)
    weights, with_words = weights_of(index, words), index.find(words, count, among)
    parked = {each.subject for each in context.jobs.parked()}  # a model that reads one could end the worker again
    for id_ in parked & with_words.keys():
        del with_words[id_]

    def covers(text: str) -> float:
        return covered_share(index, text, weights)

    def show(scored: Sequence[tuple[float, Hit]]) -> list[Hit]:
        hits = [hit for _, hit in scored]
        if hits:
            context.jobs.write(job.id, Hits(tuple(hits[:limit]), reranked=False))
        return hits

    hits = show(with_texts(rank(with_words, Nearest({}, 0.0, 1.0), weights), context.journal.entries_of, covers))
    try:
        with context.manager.lease(Role.EMBEDDING, context.stop.is_set) as model:
            context.begin(job)
            store = vector_store(context, model)
            missing = [id_ for id_ in store.follow(context.journal) if id_ not in parked]
            indexed = index_entries(context, job, model, missing, context.stop.is_set)
            if failures := [done.error for done in indexed if done.error]:
                notes.append(f"{len(failures):,} of the entries could not be indexed: {failures[0]}")
            vector = model.embed([query], query=True)[0]
            nearest = store.rows.nearest(vector, count, among, with_words)
            scored = with_texts(rank(with_words, nearest, weights)[:count], context.journal.entries_of, covers)
            show(scored)
            embed = partial(model.embed, cancelled=context.stop.is_set)
            hits = show(refine(scored, embed, vector, nearest.deviation, covers))
            if model.count_tokens(query, query=True) > (room := model.spec.context_length):
                notes.append(f"The query is longer than {room:,} tokens: only its beginning was used.")
    except CancelledError:
        raise
    except CharlieError as error:
        context.begin(job)
        notes.append(f"Searched by words alone: {error}")
    nothing_near = is_nothing_near(hits, index, weights)
    return Found(_reranked(context, job, query, hits, limit, notes), " ".join(notes), nothing_near)


def _within_span(context: TaskContext, query: str, notes: list[str]) -> tuple[str, Collection[str] | None]:
    """The query without the days that it names, and the entries of those days; all when there are none."""
    span = find_span(query, time.time())
    if span is None:
        return query, None
    among: list[str] = context.journal.redis.zrangebyscore(keys.ENTRIES, span.start, f"({span.end}")
    if among:
        return span.rest, frozenset(among)
    notes.append("No entry was written in the days that the query names; all entries were searched.")
    return query, None


def _reranked(context: TaskContext, job: Job, query: str, hits: list[Hit], limit: int, notes: list[str]) -> list[Hit]:
    """The best hits as the reranker sorts them; as they are without one."""
    if not hits:
        return []
    try:
        with context.manager.lease(Role.RERANKER, context.stop.is_set) as model:
            scores = model.score(query, [hit.chunk for hit in hits], cancelled=context.stop.is_set)
    except CancelledError:
        raise
    except NoModelError:
        return hits[:limit]
    except CharlieError as error:
        notes.append(f"Not reranked: {error}")
        return hits[:limit]
    scored = [replace(hit, relevance=round(score, 4)) for hit, score in zip(hits, scores, strict=True)]
    best = sorted(scored, key=lambda hit: (hit.relevance or 0, hit.similarity), reverse=True)[:limit]
    context.jobs.write(job.id, Hits(tuple(best), reranked=True))
    return best
