"""The reflect task: what a week of the journal was about, said back, with a question to go on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import CharlieError
from core.library import PART, EntryState
from core.prompts import number_entries
from core.settings import Role
from tasks.jobs import Text
from tasks.journal import quote
from tasks.programs import prepare, stats_of

if TYPE_CHECKING:
    from core.instruct import InstructModel
    from core.library import Entry
    from tasks.jobs import Job
    from tasks.tools import Tools

WEEK_SECONDS = 7 * 24 * 3600


def reflect(tools: Tools, job: Job) -> dict[str, Any]:
    """Themes, reflection and question of the entries of the last seven days, and which entries these were."""
    week = _week(tools, job.enqueued - WEEK_SECONDS)
    if not week:
        raise CharlieError("There is no entry of the last seven days to look back on.", "Write one first.")
    sampling = tools.sampling(job, usually={"temperature": 0})
    with tools.manager.lease(Role.INSTRUCT, tools.stop.is_set) as model:
        tools.begin(job)
        given = _fitting(model, week)
        program = prepare(tools, job, model, "reflection", sampling)
        answer = program.run(tools.stop.is_set, entries=number_entries(text for _, text in given))
        stats = stats_of(tools, job, program, answer)
    said = answer.fields
    text = f"{' · '.join(said.themes)}\n\n{said.reflection}\n\n{said.question}"
    tools.jobs.write(job.id, Text(text))
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


def _week(tools: Tools, since: float) -> list[Entry]:
    """The entries written after a moment, the newest first; without those that are set aside or dropped."""
    aside = {each.subject for each in tools.jobs.aside()}
    start: int | None = 0
    found: list[Entry] = []
    while start is not None:
        entries, start = tools.library.read_entries(start, PART)
        recent = [entry for entry in entries if entry.created >= since]
        found += [
            entry
            for entry in recent
            if entry.text.strip() and entry.state is not EntryState.DROPPED and entry.id not in aside
        ]
        if len(recent) < len(entries):
            break
    return found


def _fitting(model: InstructModel, entries: list[Entry]) -> list[tuple[Entry, str]]:
    """The newest entries that half of the context has room for, with their texts, the oldest first."""
    room = model.spec.context_length // 2
    given: list[tuple[Entry, str]] = []
    for entry in entries:
        text = quote(model, entry.text, room)
        taken = model.count_tokens(text)
        if given and taken < model.count_tokens(quote(model, entry.text, model.spec.context_length)):
            break  # half of an entry is better than none, but not than its place in the week
        given.append((entry, text))
        room -= taken
        if room <= 0:
            break
    return given[::-1]
