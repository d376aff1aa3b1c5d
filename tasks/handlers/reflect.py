"""Reflects on a week of the journal: themes, a summary and a question; or quotes, where the model is small."""

from __future__ import annotations

import math
from typing import Any

from core.database import keys
from core.errors import CharlieError
from core.figures import days_before
from core.library.chunking import sentences
from core.library.records import Entry, EntryState
from core.programs.prompts import number_entries
from core.roles import Role
from tasks.handlers.context import TaskContext
from tasks.handlers.excerpts import CUT, excerpts
from tasks.handlers.feel import feelings_of
from tasks.handlers.programs import follows_programs, prepare, stats_of
from tasks.jobs.records import Job, Text

WEEK = 7


def reflect(context: TaskContext, job: Job) -> dict[str, Any]:
    """Look back on the entries of the last seven days: by the program, or with a small model in the person's own words.

    Themes, reflection and question; their text; and a list of the entries.
    """
    week = _week(context, days_before(job.enqueued, WEEK))[::-1]
    if not week:
        raise CharlieError("There is no entry from the last seven days.", "Write one first.")
    if follows_programs(context.manager.wanted(Role.INSTRUCT)):
        result = _by_program(context, job, week)
    else:
        result = _quotes(context, job, week)
    context.jobs.write(job.id, Text(result["text"]))
    return {
        **result,
        "citations": [
            {"number": number, "entry": entry.id, "title": entry.title, "cited": True}
            for number, entry in enumerate(week, start=1)
        ],
    }


def _by_program(context: TaskContext, job: Job, week: list[Entry]) -> dict[str, Any]:
    texts = [entry.text for entry in week]
    sampling = context.sampling(job, {"temperature": 0})
    with context.manager.lease(Role.INSTRUCT, context.stop.is_set) as model:
        context.begin(job)
        given = excerpts(texts, [], model.count_tokens, model.spec.context_length // 2)
        program = prepare(context, job, model, "reflection", sampling)
        answer = program.run(context.stop.is_set, entries=number_entries(given))
        stats = stats_of(context, job, program, answer)
    said = answer.fields
    cut = f"Long entries were not read as a whole: {CUT} stands for what was left out." if given != texts else ""
    return {
        "text": f"{' · '.join(said.themes)}\n\n{said.reflection}\n\n{said.question}",
        "themes": list(said.themes),
        "reflection": said.reflection,
        "question": said.question,
        **stats,
        "note": " ".join(filter(None, [program.note, cut])),
    }


def _quotes(context: TaskContext, job: Job, week: list[Entry]) -> dict[str, Any]:
    """The sentence of each entry that speaks most clearly of its mood, by moods, the most frequent first."""
    quotes: dict[str, list[str]] = {}
    with context.manager.lease(Role.EMBEDDING, context.stop.is_set) as model:
        context.begin(job)
        feelings = feelings_of(context, model, context.stop.is_set)
        for number, entry in enumerate(week, start=1):
            said = [entry.text[start:end] for start, end in sentences(entry.text)]
            mood, best = feelings.clearest(model.embed(said, cancelled=context.stop.is_set), entry.mood)
            quotes.setdefault(mood, []).append(f"> {said[best]} [{number}]")
        name = model.spec.name
    moods = sorted(quotes, key=lambda mood: -len(quotes[mood]))
    text = "\n\n".join("\n\n".join([f"**{mood}**", *quotes[mood]]) for mood in moods)
    return {"text": text, "themes": moods, "reflection": text, "question": "", "model": name, "note": ""}


def _week(context: TaskContext, since: float) -> list[Entry]:
    """The entries written since a time, newest first; without parked and skipped ones."""
    parked = {each.subject for each in context.jobs.parked()}
    ids = context.journal.redis.zrevrangebyscore(keys.ENTRIES, math.inf, since)
    return [
        entry
        for entry in context.journal.entries_of(ids)
        if entry.text.strip() and entry.state is not EntryState.SKIPPED and entry.id not in parked
    ]
