"""Answers a question from journal entries: by the compiled program `recall` where one is in use, else by a prompt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from core.errors import CancelledError, CharlieError
from core.llama.instruct import Message, quote
from core.programs.prompts import ASK_PROMPT, journal_question, number_entries
from core.roles import Role
from core.settings import Thinking
from tasks.handlers.programs import is_compiled, prepare, stats_of
from tasks.handlers.reply import cancelled, reply
from tasks.handlers.search import find_entries
from tasks.jobs.records import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.llama.instruct import InstructModel
    from core.settings import Sampling
    from tasks.handlers.context import TaskContext
    from tasks.jobs.records import Job


def recall(
    context: TaskContext,
    job: Job,
    model: InstructModel,
    entries: Sequence[str],
    question: str,
    sampling: Sampling,
    notes: list[str],
) -> tuple[str, dict[str, Any]] | None:
    """Write the program's answer to the job's output; returns it with the result of the job.

    None when no compiled program is in use, or when it cannot answer; then `notes` gets the reason.
    """
    if not is_compiled(context, "recall", model):
        return None
    program = prepare(context, job, model, "recall", sampling)
    if program.note:
        notes.append(program.note)
        return None
    try:
        answer = program.run(context.stop.is_set, entries=number_entries(entries), question=question)
    except CancelledError:
        raise
    except CharlieError as error:
        notes.append(f"The compiled program 'recall' was not used: {error.message}")
        return None
    text = _cite(answer.fields.answer, answer.fields.citations, len(entries))
    context.jobs.write(job.id, Text(text))
    return text, {"text": text, **stats_of(context, job, program, answer)}


def _cite(answer: str, citations: Iterable[int], count: int) -> str:
    """The answer, preceded by the numbers of the existing entries that it cites."""
    existing = dict.fromkeys(number for number in citations if 1 <= number <= count)
    marks = [f"[{number}]" for number in existing if f"[{number}]" not in answer]
    return " ".join([*marks, answer])


def ask_journal(context: TaskContext, job: Job) -> dict[str, Any]:
    """Answer a question from the entries that a search finds; the result lists them, numbered."""
    question, session = job.args["query"], context.journal.journal_session()
    found = find_entries(context, job, question, job.args["limit"])
    entries = {entry.id: entry for entry in context.journal.entries_of([hit.entry for hit in found.hits])}
    given = [(number, entries[hit.entry]) for number, hit in enumerate(found.hits, start=1) if hit.entry in entries]
    if not given:
        raise CharlieError("There is nothing in the journal to answer from.", "Write an entry first.")
    # Facts are not up to chance: the most probable answer, unless the job asks for another temperature.
    sampling = context.sampling(job, {"temperature": 0})
    with context.manager.lease(Role.INSTRUCT, context.stop.is_set) as model:
        room = model.spec.context_length // 2 // len(given)
        quotes, notes = [quote(model, entry.text, room) for _, entry in given], [found.note]
        answered = recall(context, job, model, quotes, question, sampling, notes)
        messages = [Message("system", ASK_PROMPT), Message("user", journal_question(quotes, question))]
        thinking = Thinking(job.args.get("thinking") or Thinking.OFF)
        text, stats = answered or reply(context, job, model, messages, sampling, session, thinking)
    if answered is None and cancelled(stats):
        raise CancelledError
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", text)}
    citations = [
        {"number": number, "entry": entry.id, "title": entry.title, "cited": number in cited} for number, entry in given
    ]
    note = " ".join(filter(None, [*notes, stats.get("note")]))
    return {**stats, "question": question, "citations": citations, "note": note}
