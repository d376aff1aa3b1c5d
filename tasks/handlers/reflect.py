"""Reflects on a week of the journal: its themes, a summary, and a question to continue with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import CharlieError
from core.figures import days_before
from core.library.journal import PAGE_ENTRIES
from core.library.records import EntryState
from core.llama.instruct import quote
from core.programs.prompts import number_entries
from core.roles import Role
from tasks.handlers.programs import prepare, stats_of
from tasks.jobs.records import Text

if TYPE_CHECKING:
    from core.library.records import Entry
    from core.llama.instruct import InstructModel
    from tasks.handlers.context import TaskContext
    from tasks.jobs.records import Job

WEEK = 7


def reflect(context: TaskContext, job: Job) -> dict[str, Any]:
    """Themes, reflection and question for the entries of the last seven days, and a list of them."""
    week = _week(context, days_before(job.enqueued, WEEK))
    if not week:
        raise CharlieError("There is no entry from the last seven days.", "Write one first.")
    sampling = context.sampling(job, {"temperature": 0})
    with context.manager.lease(Role.INSTRUCT, context.stop.is_set) as model:
        context.begin(job)
        given = _fitting(model, week)
        program = prepare(context, job, model, "reflection", sampling)
        answer = program.run(context.stop.is_set, entries=number_entries(text for _, text in given))
        stats = stats_of(context, job, program, answer)
    said = answer.fields
    text = f"{' · '.join(said.themes)}\n\n{said.reflection}\n\n{said.question}"
    context.jobs.write(job.id, Text(text))
    notes = [program.note]
    if left_out := len(week) - len(given):
        notes.append(f"{left_out:,} earlier {'entry' if left_out == 1 else 'entries'} of the week did not fit.")
    return {
        "text": text,
        "themes": list(said.themes),
        "reflection": said.reflection,
        "question": said.question,
        **stats,
        "citations": [
            {"number": number, "entry": entry.id, "title": entry.title, "cited": True}
            for number, (entry, _) in enumerate(given, start=1)
        ],
        "note": " ".join(filter(None, notes)),
    }


def _week(context: TaskContext, since: float) -> list[Entry]:
    """The entries written since a time, newest first; without parked and skipped ones."""
    parked = {each.subject for each in context.jobs.parked()}
    start: int | None = 0
    found: list[Entry] = []
    while start is not None:
        entries, start = context.journal.read_entries(start, PAGE_ENTRIES)
        recent = [entry for entry in entries if entry.created >= since]
        found += [
            entry
            for entry in recent
            if entry.text.strip() and entry.state is not EntryState.SKIPPED and entry.id not in parked
        ]
        if len(recent) < len(entries):
            break
    return found


def _fitting(model: InstructModel, entries: list[Entry]) -> list[tuple[Entry, str]]:
    """The newest entries that fit half of the context, with their texts, oldest first."""
    room = model.spec.context_length // 2
    given: list[tuple[Entry, str]] = []
    for entry in entries:
        text = quote(model, entry.text, room)
        taken = model.count_tokens(text)
        if given and taken < model.count_tokens(quote(model, entry.text, model.spec.context_length)):
            break  # only the newest entry may be cut off
        given.append((entry, text))
        room -= taken
        if room <= 0:
            break
    return given[::-1]
