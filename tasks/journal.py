"""The journal tasks: read an entry in, search by meaning, answer from what was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import redis

from core.embedder import EmbeddingModel
from core.errors import CancelledError, CharlieError, NotFoundError
from core.events import JobProgress
from core.instruct import InstructModel, Message
from core.library import Entry, EntryState
from core.settings import Role
from core.split import split
from core.vectors import VectorStore
from tasks.jobs import Hit, Hits, Job
from tasks.tools import Tools, cancelled

CHUNK_TOKENS = 128
"""An entry is embedded in parts of at most this many tokens, so that one sentence can be found in a long one."""
BATCH = 64
"""Chunks that are embedded between two looks at the stop flag."""
CANDIDATES = 4
"""For each entry that is asked for, this many are reranked."""
QUOTED_CHARACTERS = 1200
ASK_PROMPT = (
    "Answer the question from the journal entries, briefly. Put the number of the entry you took it from "
    "in brackets, like [1]. If they do not tell, say: I don't find that in your entries."
)


@dataclass(frozen=True, slots=True)
class Found:
    """The best entries, the best first; what a person should know of the search; whether a starter made it."""

    hits: list[Hit]
    note: str
    starter: bool


def ingest_entry(tools: Tools, job: Job) -> dict[str, Any]:
    """Split, embed and store one entry. Running it again gives the same; an entry that is gone is no error."""
    try:
        entry = tools.library.entry(job.args["entry"])
    except NotFoundError:
        return {"entry": job.args["entry"], "chunks": 0}
    tools.library.mark_entry(entry.id, entry.revision, EntryState.READING)
    try:
        with tools.manager.lease(Role.EMBEDDING, tools.stop.is_set) as model:
            tools.begin(job)
            chunks, starter = _read_in(tools, job, model, _store(tools, model), entry), model.spec.starter
    except CancelledError:
        tools.library.mark_entry(entry.id, entry.revision, EntryState.SAVED)
        raise
    except redis.RedisError:
        raise
    except Exception as error:
        tools.library.mark_entry(entry.id, entry.revision, EntryState.FAILED, str(error))
        raise
    return {"entry": entry.id, "chunks": chunks, "starter": starter}


def search_journal(tools: Tools, job: Job) -> dict[str, Any]:
    """The entries nearest to a query, then the same reordered by the reranker. Both are put out as they are known."""
    found = _find(tools, job, job.args["query"], job.args["limit"])
    hits = [asdict(hit) for hit in found.hits]
    return {"query": job.args["query"], "hits": hits, "note": found.note, "starter": found.starter}


def ask_journal(tools: Tools, job: Job) -> dict[str, Any]:
    """An answer to a question from the entries that a search finds, with the entries it was given numbered."""
    question = job.args["query"]
    found = _find(tools, job, question, job.args["limit"])
    entries = {entry.id: entry for entry in tools.library.entries_of([hit.entry for hit in found.hits])}
    given = [(number, entries[hit.entry]) for number, hit in enumerate(found.hits, start=1) if hit.entry in entries]
    if not given:
        raise CharlieError("There is nothing in the journal to answer from.", "Write an entry first.")
    sampling = tools.sampling(job)
    with tools.manager.lease(Role.INSTRUCT, tools.stop.is_set) as model:
        room = model.spec.context_length // 2 // len(given)
        quoted = "\n\n".join(f"[{number}] {_quote(model, entry.text, room)}" for number, entry in given)
        messages = [Message("system", ASK_PROMPT), Message("user", f"{quoted}\n\nQuestion: {question}")]
        text, stats = tools.reply(job, model, messages, sampling)
    if cancelled(stats):
        raise CancelledError
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", text)}
    citations = [
        {"number": number, "entry": entry.id, "title": entry.title, "cited": number in cited} for number, entry in given
    ]
    return {**stats, "question": question, "citations": citations, "note": found.note}


def _find(tools: Tools, job: Job, query: str, limit: int) -> Found:
    with tools.manager.lease(Role.EMBEDDING, tools.stop.is_set) as model:
        tools.begin(job)
        store = _store(tools, model)
        everything = tools.library.entry_ids()
        store.keep_only(set(everything))
        # Entries that were written for another embedding model, or not read in yet, are read in now; what is set aside
        # could end the worker once more.
        aside = {each.subject for each in tools.jobs.aside()}
        for id_ in store.missing(everything):
            for entry in tools.library.entries_of([id_]):
                if entry.state is not EntryState.DROPPED and entry.id not in aside:
                    _read_in(tools, job, model, store, entry)
        near = store.nearest(model.embed([query])[0], limit * CANDIDATES)
        room, starter = model.spec.context_length, model.spec.starter
        notes = [f"The query is longer than {room:,} tokens: its beginning was used."] * (
            model.count_tokens(query) > room
        )
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


def _read_in(tools: Tools, job: Job, model: EmbeddingModel, store: VectorStore, entry: Entry) -> int:
    limit = min(CHUNK_TOKENS, model.spec.context_length)
    chunks = [chunk.text for chunk in split(entry.text, model.count_tokens, limit)]
    parts = [np.empty((0, model.dimension), np.float32)]
    for start in range(0, len(chunks), BATCH):
        parts.append(model.embed(chunks[start : start + BATCH], cancelled=tools.stop.is_set))
        if len(chunks) > BATCH:
            tools.bus.publish(JobProgress(job.id, "embed", min(start + BATCH, len(chunks)), len(chunks)))
    store.put(entry.id, chunks, np.concatenate(parts))
    tools.library.mark_entry(entry.id, entry.revision, EntryState.FINDABLE)
    return len(chunks)


def _store(tools: Tools, model: EmbeddingModel) -> VectorStore:
    """The vectors of this model; read from the database once, and kept for as long as the model is the same."""
    if model.id not in tools.stores:
        tools.stores.clear()
        tools.stores[model.id] = VectorStore(tools.raw, model.id, model.dimension)
    return tools.stores[model.id]


def _quote(model: InstructModel, text: str, room: int) -> str:
    """The beginning of an entry, of about `room` tokens at most."""
    quoted = text[:QUOTED_CHARACTERS]
    tokens = model.count_tokens(quoted)
    return quoted if tokens <= room else quoted[: len(quoted) * room // tokens]
