"""Mood and distress: of an entry when it is indexed, of a chat message after its reply, while nobody waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np

from core.database import keys
from core.errors import CancelledError
from core.events.types import LibraryChanged
from core.files import write_atomically
from core.library.records import Entry, EntryState, StoredMessage
from core.library.vectors import Vectors, stored_vectors
from core.llama.embedding import EmbeddingModel
from core.programs.feelings import Feelings, certain, examples, has_words, personal, vectors_file
from core.roles import Role
from tasks.handlers.context import TaskContext, stop_condition
from tasks.jobs.records import Job

SOON = "soon"
"""Of a message that must not wait until the embedding model is loaded for something else."""


def feel(
    context: TaskContext, model: EmbeddingModel, entries: Sequence[Entry], rows: Sequence[Vectors]
) -> dict[str, tuple[str, bool]]:
    """Mood and distress by entry, from the vectors of their passages; later in idle time if the examples have none."""
    if not vectors_file(model.id, context.paths.data).exists():
        context.raw.hset(keys.UNREAD, mapping={entry.id: "" for entry in entries})
        return {}
    feelings = feelings_of(context, model, context.stop.is_set)
    means = [row.mean(axis=0) if len(row) else np.zeros(model.dimension, np.float32) for row in rows]
    moods = feelings.moods(np.stack(means))
    said = [personal(entry.text) if context.manager.settings.support.line else [] for entry in entries]
    vectors = model.embed(list(chain.from_iterable(said)), cancelled=context.stop.is_set)
    parts = pairwise([0, *accumulate(map(len, said))])
    return {
        entry.id: (mood if len(row) else "", feelings.distress(own, vectors[start:end]))
        for entry, row, mood, own, (start, end) in zip(entries, rows, moods, said, parts, strict=True)
    }


def feelings_of(context: TaskContext, model: EmbeddingModel, stop: Callable[[], bool]) -> Feelings:
    """From the examples, embedded once for each embedding model, and the moods that a person has set."""
    corrected = context.journal.corrected_moods()
    key = f"{model.id} {sorted(corrected.items())}"
    if key not in context.feelings:
        file = vectors_file(model.id, context.paths.data)
        if not file.exists():
            np.save(data := BytesIO(), model.embed(examples().texts, cancelled=stop).astype(np.float16))
            write_atomically(file, data.getvalue(), durable=False)
        held = context.raw.hmget(keys.vectors(model.id), list(corrected)) if corrected else []
        rows = [
            (stored_vectors(value, model.dimension).mean(axis=0), mood)
            for value, mood in zip(held, corrected.values(), strict=True)
            if value
        ]
        context.feelings.clear()
        with context.manager.excluded_from_model():
            context.feelings[key] = Feelings(np.load(file), rows)
    return context.feelings[key]


def note_message(context: TaskContext, conversation: str, asked: StoredMessage, reply: str) -> bool:
    """Whether the words of a message tell of distress; else it may be read by `read_feelings`."""
    if not context.manager.settings.support.line:
        return False
    if certain(asked.text):
        return True
    if said := personal(asked.text):
        soon = SOON if any(map(has_words, said)) else ""
        context.raw.hset(keys.UNREAD, f"{conversation} {reply}", soon)
    return False


def read_feelings(context: TaskContext, job: Job, others_wait: Callable[[], bool]) -> dict[str, Any]:
    """Read the waiting entries and messages, until others wait; the examples first, once for each embedding model."""
    stop = stop_condition(context, others_wait)
    warm, read = context.manager.is_warm(Role.INSTRUCT), list[str]()
    try:
        with context.manager.lease(Role.EMBEDDING, stop) as model:
            context.begin(job)
            feelings = feelings_of(context, model, stop)
            for subject in context.journal.redis.hkeys(keys.UNREAD):
                if stop():
                    break
                context.raw.hdel(keys.UNREAD, subject)  # first, since it might end the worker
                _read(context, model, feelings, subject)
                read.append(subject)
    except CancelledError:
        if context.stop.is_set():
            raise
    return {"read": read, "swapped": warm and not context.manager.is_warm(Role.INSTRUCT)}


def _read(context: TaskContext, model: EmbeddingModel, feelings: Feelings, subject: str) -> None:
    conversation, _, reply = subject.partition(" ")
    if reply:
        turns = context.conversations.messages(conversation)
        found = next((turn for turn in turns if turn.id == reply), None)
        asked = next((turn.text for turn in reversed(turns) if turn.role == "user" and turn.id < reply), "")
        said = personal(asked)
        if found is None or not feelings.distress(said, model.embed(said)):
            return
        context.conversations.put_message(conversation, replace(found, stats={**(found.stats or {}), "distress": True}))
    else:
        entries = [each for each in context.journal.entries_of([subject]) if each.state is EntryState.INDEXED]
        held = context.raw.hget(keys.vectors(model.id), subject)
        if not entries or held is None:  # it is indexed later
            return
        rows = [stored_vectors(held, model.dimension)]
        revisions = {subject: entries[0].revision}
        context.journal.mark_entries(revisions, EntryState.INDEXED, felt=feel(context, model, entries, rows))
    context.bus.publish(LibraryChanged(conversation))
