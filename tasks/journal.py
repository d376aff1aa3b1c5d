"""The journal tasks: read an entry in, search by meaning, answer from what was found."""

from __future__ import annotations

import logging
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
import redis

from core.embedder import EmbeddingModel
from core.errors import CancelledError, CharlieError
from core.events import JobProgress
from core.instruct import InstructModel, Message
from core.library import Entry, EntryState
from core.prompts import ASK_PROMPT, journal_question
from core.settings import Role
from core.split import split
from core.vectors import VectorStore
from tasks.jobs import Hit, Hits, Job
from tasks.recall import recall
from tasks.tools import Tools, cancelled

log = logging.getLogger(__name__)

CHUNK_TOKENS = 128
"""An entry is embedded in parts of at most this many tokens, so that one sentence can be found in a long one."""
BATCH = 64
"""Chunks that are embedded before it is told how far the job is."""
TOGETHER = 64
"""Entries that are read, embedded and stored at a time."""
CANDIDATES = 4
"""For each entry that is asked for, this many are reranked."""
QUOTED_CHARACTERS = 1200


@dataclass(frozen=True, slots=True)
class Found:
    """The best entries, the best first; what a person should know of the search; whether a starter made it."""

    hits: list[Hit]
    note: str
    starter: bool


@dataclass(frozen=True, slots=True)
class ReadIn:
    """Entries that were read in together, and how many chunks they have; of one that failed, why."""

    entries: list[str]
    chunks: int
    error: Exception | None


def ingest_entries(tools: Tools, job: Job) -> dict[str, Any]:
    """Split, embed and store a job's entries. Running it again gives the same; an entry that is gone is no error.

    Where several were asked for, one that cannot be read in does not hold up the others; the job fails at its end.
    """
    left = unread(tools, job)
    total, chunks, failures = len(left), 0, list[Exception]()
    if not left:
        return {"entries": 0, "chunks": 0}
    tools.library.mark_entries(left, EntryState.READING)
    try:
        with tools.manager.lease(Role.EMBEDDING, tools.stop.is_set) as model:
            tools.begin(job)
            for done in _read_in(tools, job, model, list(left)):
                for id_ in done.entries:
                    del left[id_]
                chunks += done.chunks
                failures += [done.error] if done.error else []
            starter = model.spec.starter
    except CancelledError:
        tools.library.mark_entries(left, EntryState.SAVED)
        raise
    except redis.RedisError:
        raise
    except Exception as error:
        tools.library.mark_entries(left, EntryState.FAILED, str(error))
        raise
    if failures and total == 1:
        raise failures[0]
    if failures:
        raise CharlieError(f"{len(failures):,} of {total:,} entries could not be read in: {failures[0]}")
    return {"entries": total, "chunks": chunks, "starter": starter}


def entry_ids(job: Job) -> list[str]:
    """The entries that an ingestion is of; one that an earlier version has queued is of one."""
    ids: list[str] = job.args.get("entries", [job.args.get("entry", "")])
    return ids


def unread(tools: Tools, job: Job) -> dict[str, int]:
    """The entries of an ingestion that are still to be read in, with their revisions.

    One that can be found already is read in anew only if it was asked for by itself.
    """
    ids = entry_ids(job)
    done = {EntryState.DROPPED} if len(ids) == 1 else {EntryState.DROPPED, EntryState.FINDABLE}
    entries = (entry for part in _parts(ids) for entry in tools.library.entries_of(part))
    return {entry.id: entry.revision for entry in entries if entry.state not in done}


def search_journal(tools: Tools, job: Job) -> dict[str, Any]:
    """The entries nearest to a query, then the same reordered by the reranker. Both are put out as they are known."""
    found = _find(tools, job, job.args["query"], job.args["limit"])
    hits = [asdict(hit) for hit in found.hits]
    return {"query": job.args["query"], "hits": hits, "note": found.note, "starter": found.starter}


def ask_journal(tools: Tools, job: Job) -> dict[str, Any]:
    """An answer to a question from the entries that a search finds, with the entries it was given numbered."""
    question, session = job.args["query"], tools.library.journal_session()
    found = _find(tools, job, question, job.args["limit"])
    entries = {entry.id: entry for entry in tools.library.entries_of([hit.entry for hit in found.hits])}
    given = [(number, entries[hit.entry]) for number, hit in enumerate(found.hits, start=1) if hit.entry in entries]
    if not given:
        raise CharlieError("There is nothing in the journal to answer from.", "Write an entry first.")
    # What the entries tell is not up to chance: the likeliest answer, unless another temperature was asked for.
    sampling = tools.sampling(job, usually={"temperature": 0})
    with tools.manager.lease(Role.INSTRUCT, tools.stop.is_set) as model:
        room = model.spec.context_length // 2 // len(given)
        quotes, notes = [quote(model, entry.text, room) for _, entry in given], [found.note]
        answered = recall(tools, job, model, quotes, question, sampling, notes)
        messages = [Message("system", ASK_PROMPT), Message("user", journal_question(quotes, question))]
        text, stats = answered or tools.reply(job, model, messages, sampling, session)
    if answered is None and cancelled(stats):
        raise CancelledError
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", text)}
    citations = [
        {"number": number, "entry": entry.id, "title": entry.title, "cited": number in cited} for number, entry in given
    ]
    return {**stats, "question": question, "citations": citations, "note": " ".join(filter(None, notes))}


def _find(tools: Tools, job: Job, query: str, limit: int) -> Found:
    with tools.manager.lease(Role.EMBEDDING, tools.stop.is_set) as model:
        tools.begin(job)
        store = _store(tools, model)
        notes = []
        if missing := store.follow(tools.library):
            # Entries that were written for another embedding model, or not read in yet, are read in now; what is set
            # aside could end the worker once more.
            aside = {each.subject for each in tools.jobs.aside()}
            read_in = _read_in(tools, job, model, [id_ for id_ in missing if id_ not in aside])
            if failures := [done.error for done in read_in if done.error]:
                notes.append(f"{len(failures):,} of the entries could not be read in: {failures[0]}")
        near = store.nearest(model.embed([query])[0], limit * CANDIDATES)
        room, starter = model.spec.context_length, model.spec.starter
        if model.count_tokens(query) > room:
            notes.append(f"The query is longer than {room:,} tokens: its beginning was used.")
    entries = tools.library.entries_of([hit.entry for hit in near])
    titles = {entry.id: entry.title for entry in entries if entry.state is not EntryState.DROPPED}
    found = [
        Hit(hit.entry, titles[hit.entry], hit.chunk, round(hit.similarity, 4)) for hit in near if hit.entry in titles
    ]
    tools.jobs.write(job.id, Hits(tuple(found[:limit]), reranked=False))
    if found:
        try:
            found = _rerank(tools, query, found)
        except CancelledError:
            raise
        except CharlieError as error:
            notes.append(f"The order is by nearness alone: {error}")
        else:
            tools.jobs.write(job.id, Hits(tuple(found[:limit]), reranked=True))
    return Found(found[:limit], " ".join(notes), starter)


def _rerank(tools: Tools, query: str, found: Sequence[Hit]) -> list[Hit]:
    with tools.manager.lease(Role.RERANKER, tools.stop.is_set) as model:
        scores = model.score(query, [hit.chunk for hit in found], cancelled=tools.stop.is_set)
    scored = [replace(hit, relevance=round(score, 4)) for hit, score in zip(found, scores, strict=True)]
    return sorted(scored, key=lambda hit: (hit.relevance or 0, hit.similarity), reverse=True)


def _read_in(tools: Tools, job: Job, model: EmbeddingModel, ids: Sequence[str]) -> Iterator[ReadIn]:
    """Split, embed and store entries, those of a part in the same decodes; says of each part what came of it.

    Where a part fails its entries are tried one by one, so that only those fail that cannot be read in.
    """
    parts, done = list(_parts(ids))[::-1], 0
    while parts:
        part = parts.pop()
        entries = [each for each in tools.library.entries_of(part) if each.state is not EntryState.DROPPED]
        chunks, failure = 0, None
        try:
            chunks = _embed(tools, job, model, entries, done, len(ids))
        except (CancelledError, redis.RedisError):
            raise
        except Exception as error:  # whatever is wrong with one, the others have their turn
            if len(part) > 1:
                parts += [[id_] for id_ in reversed(part)]
                continue
            log.warning("The entry %s could not be read in.", part[0], exc_info=error)
            tools.library.mark_entry(entries[0].id, entries[0].revision, EntryState.FAILED, str(error))
            failure = error
        done += len(part)
        yield ReadIn(part, chunks, failure)


def _embed(tools: Tools, job: Job, model: EmbeddingModel, entries: Sequence[Entry], done: int, total: int) -> int:
    """Make entries findable; returns how many chunks they have. `done` of the `total` entries of the job were before.

    How far it is is told in entries, or of a single long one in chunks.
    """
    limit = min(CHUNK_TOKENS, model.spec.context_length)
    chunks = [[chunk.text for chunk in split(entry.text, model.count_tokens, limit)] for entry in entries]
    texts, ends = list(chain.from_iterable(chunks)), list(accumulate(map(len, chunks)))
    vectors = np.empty((len(texts), model.dimension), np.float32)
    for start in range(0, len(texts), BATCH):
        end = min(start + BATCH, len(texts))
        vectors[start:end] = model.embed(texts[start:end], cancelled=tools.stop.is_set)
        if total > 1:
            tools.bus.publish(JobProgress(job.id, "embed", done + bisect_right(ends, end), total))
        elif len(texts) > BATCH:
            tools.bus.publish(JobProgress(job.id, "embed", end, len(texts)))
    revisions = {entry.id: entry.revision for entry in entries}
    rows = [vectors[start:end] for start, end in pairwise([0, *ends])]
    store = _store(tools, model)
    store.put(dict(zip(revisions, zip(chunks, rows, strict=True), strict=True)))
    tools.library.mark_entries(revisions, EntryState.FINDABLE)
    # One that was deleted meanwhile leaves nothing behind.
    exist = tools.library.exist(list(revisions))
    store.forget([id_ for id_, exists in zip(revisions, exist, strict=True) if not exists])
    return len(texts)


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    return (list(ids[start : start + TOGETHER]) for start in range(0, len(ids), TOGETHER))


def _store(tools: Tools, model: EmbeddingModel) -> VectorStore:
    """The vectors of this model; read from the database once, and kept for as long as the model is the same."""
    if model.id not in tools.stores:
        tools.stores.clear()
        tools.stores[model.id] = VectorStore(tools.raw, model.id, model.dimension)
    return tools.stores[model.id]


def quote(model: InstructModel, text: str, room: int) -> str:
    """The beginning of an entry, of about `room` tokens at most."""
    quoted = text[:QUOTED_CHARACTERS]
    tokens = model.count_tokens(quoted)
    return quoted if tokens <= room else quoted[: len(quoted) * room // tokens]
