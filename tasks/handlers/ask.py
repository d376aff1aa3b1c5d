"""Answers a question from journal entries: by the compiled program `recall` where one is in use, else by a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import CancelledError, CharlieError
from core.library.word_index import STOP_WORDS
from core.llama.instruct import Message
from core.programs.citations import supported
from core.programs.prompts import ASK_PROMPT, dated, journal_question, number_entries
from core.roles import Role
from core.settings import Thinking
from tasks.handlers.excerpts import CUT, excerpts
from tasks.handlers.programs import is_compiled, prepare, stats_of
from tasks.handlers.reply import cancelled, reply
from tasks.handlers.search import find_entries
from tasks.jobs.records import Hit, Text, numbered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.library.records import Entry
    from core.llama.instruct import InstructModel
    from core.settings import Sampling
    from tasks.handlers.context import TaskContext
    from tasks.jobs.records import Job

MOST_TOKENS = 1_536
"""Of the entries in a prompt: what two slow cores read in some seconds."""
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
    if not is_compiled(context, "recall"):
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
    """Answer a question from the entries that a search finds; the result lists them, numbered.

    Where nothing is near the question, no model is asked.
    """
    question = job.args["query"]
    found = find_entries(context, job, question, job.args["limit"])
    entries = {entry.id: entry for entry in context.journal.entries_of(sorted({hit.entry for hit in found.hits}))}
    hits = [hit for hit in found.hits if hit.entry in entries]
    numbers = numbered(hits)
    stats: dict[str, Any] = {"text": NOT_FOUND, "note": ""}
    read, notes = [entry.text for entry in entries.values()], [found.note]
    if found.nothing_near:
        context.jobs.write(job.id, Text(NOT_FOUND))
    elif not hits:
        raise CharlieError("There is nothing in the journal to answer from.", "Write an entry first.")
    else:
        stats, read = _answered(context, job, hits, list(entries.values()), notes)
        notes.append(stats["note"])
    stems = context.words.stems
    idle = set(stems(" ".join(STOP_WORDS)))
    cited = supported(stats["text"], dict(enumerate(read, start=1)), lambda text: set(stems(text)) - idle)
    citations = [
        {
            "number": numbers[hit.entry],
            "entry": hit.entry,
            "title": hit.title,
            "passage": hit.chunk,
            "mark": hit.mark,
            "cited": numbers[hit.entry] in cited,
        }
        for hit in hits
    ]
    note = " ".join(filter(None, notes))
    near = {"nothing_near": found.nothing_near}
    return {**stats, "question": question, "citations": citations, "note": note, **near}


def _answered(
    context: TaskContext, job: Job, hits: Sequence[Hit], entries: Sequence[Entry], notes: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """The result of the job so far, and what the model has read of each entry."""
    question, session = job.args["query"], context.journal.journal_session()
    # Facts are not up to chance: the most probable answer, unless the job asks for another temperature.
    sampling = context.sampling(job, {"temperature": 0})
    thinking = Thinking(job.args.get("thinking") or Thinking.OFF)
    with context.manager.lease(Role.INSTRUCT, context.stop.is_set) as model:

        def messages(texts: Sequence[str]) -> list[Message]:
            return [Message("system", ASK_PROMPT), Message("user", journal_question(texts, question))]

        def written(texts: Iterable[str]) -> list[str]:
            return [dated(text, e.created, e.zone) for text, e in zip(texts, entries, strict=True)]

        room = model.prompt_room(sampling.max_tokens, thinking, sampling.thinking_tokens)
        around = len(model.fit(messages(written("" for _ in entries)), 0).tokens)
        places = {entry.id: n for n, entry in enumerate(entries)}
        spans = [(places[hit.entry], (hit.start + hit.mark[0], hit.start + hit.mark[1])) for hit in hits]
        texts = [entry.text for entry in entries]
        quotes = excerpts(
            texts, spans, model.count_tokens, min(room - around, model.spec.context_length // 2, MOST_TOKENS)
        )
        if cut := sum(quote != text for quote, text in zip(quotes, texts, strict=True)):
            what = "1 entry was" if cut == 1 else f"{cut} entries were"
            notes.append(f"{what} too long to be read as a whole; {CUT} stands for what was left out.")
        answered = recall(context, job, model, written(quotes), question, sampling, notes)
        prompt = messages(written(quotes))
        _, stats = answered or reply(context, job, model, prompt, sampling, session, thinking, dry=True)
    if answered is None and cancelled(stats):
        raise CancelledError
    return {"note": "", **stats}, written(quotes)
