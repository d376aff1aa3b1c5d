"""Answers a question from journal entries: by the compiled program `recall` where one is in use, else by a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from core.errors import CancelledError, CharlieError
from core.library.records import Entry
from core.library.word_index import STOP_WORDS
from core.llama.instruct import InstructModel, Message
from core.programs.citations import supported
from core.programs.prompts import ASK_PROMPT, day_of, journal_question, number_entries
from core.roles import Role
from core.settings import Sampling, Thinking
from tasks.handlers.context import TaskContext
from tasks.handlers.excerpts import CUT, excerpts
from tasks.handlers.programs import is_compiled, prepare, stats_of
from tasks.handlers.reply import cancelled, reply
from tasks.handlers.search import find_entries
from tasks.jobs.records import Hit, Job, Text, citations

MOST_TOKENS = 1_536
"""Of the entries in a prompt: what two slow cores read in some seconds."""
AROUND_TOKENS = 64
"""More than a chat template adds."""
NOT_FOUND = "Not in your entries."


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
    """Answer a question from the entries that a search finds; without the model where nothing is near."""
    found, stems = find_entries(context, job, job.args["query"], job.args["limit"]), context.words.stems
    entries = context.journal.entries_of(sorted({hit.entry for hit in found.hits}))
    hits = [hit for hit in found.hits if any(entry.id == hit.entry for entry in entries)]
    if not hits:
        raise CharlieError("There is nothing in the journal to answer from.", "Write an entry first.")
    stats: dict[str, Any] = {"text": NOT_FOUND}
    notes, read = [found.note], list[str]()
    if found.nothing_near:
        context.jobs.write(job.id, Text(NOT_FOUND))
    else:
        stats, read = _answer(context, job, hits, entries, notes)
    idle = set(stems(" ".join(STOP_WORDS)))
    cited = supported(stats["text"], dict(enumerate(read, start=1)), lambda text: set(stems(text)) - idle)
    note = " ".join(filter(None, [*notes, stats.get("note")]))
    own = {"question": job.args["query"], "nothing_near": found.nothing_near, "note": note}
    return {**stats, **own, "citations": citations(hits, cited)}


def _answer(
    context: TaskContext, job: Job, hits: Sequence[Hit], entries: Sequence[Entry], notes: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """The result of the job so far, and what the model has read of each entry."""
    question, session = job.args["query"], context.journal.journal_session()
    # Facts are not up to chance: the most probable answer, unless the job asks for another temperature.
    sampling = context.sampling(job, {"temperature": 0})
    thinking = Thinking(job.args.get("thinking") or Thinking.OFF)
    texts, places = [entry.text for entry in entries], {entry.id: place for place, entry in enumerate(entries)}
    spans = [(places[hit.entry], (hit.start + hit.mark[0], hit.start + hit.mark[1])) for hit in hits]
    days = [day_of(entry.created, entry.zone) for entry in entries]
    with context.manager.lease(Role.INSTRUCT, context.stop.is_set) as model:
        whole, thought = model.spec.context_length, 0 if thinking is Thinking.OFF else sampling.thinking_tokens
        room = max(whole - sampling.max_tokens - thought, whole // 4) - AROUND_TOKENS
        room -= model.count_tokens(ASK_PROMPT + journal_question(days, question))
        quotes = excerpts(texts, spans, model.count_tokens, min(room, MOST_TOKENS))
        if quotes != texts:
            notes.append(f"Long entries were not read as a whole: {CUT} stands for what was left out.")
        read = [f"{day}: {quote}" for day, quote in zip(days, quotes, strict=True)]
        answered = recall(context, job, model, read, question, sampling, notes)
        messages = [Message("system", ASK_PROMPT), Message("user", journal_question(read, question))]
        _, stats = answered or reply(context, job, model, messages, sampling, session, thinking, steady=True)
    if answered is None and cancelled(stats):
        raise CancelledError
    return stats, read
