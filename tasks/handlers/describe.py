"""Names mood and title of indexed entries while the queue is empty; never unloads another model for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from core.errors import CancelledError, CharlieError, NotFoundError
from core.llama.instruct import Completion, FinishReason, Message, quote
from core.programs.prompts import MOOD_PROMPT, TITLE_PROMPT
from core.programs.signatures import MOODS, TITLE_CHARACTERS
from core.roles import Role
from core.text import one_line, whole_words
from tasks.handlers.context import StopCondition
from tasks.handlers.programs import is_compiled, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.library.records import Entry
    from core.llama.instruct import InstructModel
    from core.settings import Sampling
    from tasks.handlers.context import TaskContext
    from tasks.handlers.programs import Program
    from tasks.jobs.records import Job

log = logging.getLogger(__name__)

PROMPTS = {"mood": MOOD_PROMPT, "title": TITLE_PROMPT}
"""The programs that describe an entry, and the prompts that the bundled model gets instead."""
ENTRIES_PER_JOB = 4
"""Between two jobs the model can be evicted."""


def describe_entries(context: TaskContext, job: Job, others_wait: Callable[[], bool]) -> dict[str, Any]:
    """Name mood and title of some undescribed entries, newest first; returns their ids and notes on failures.

    Ends at once when another model is warm or `others_wait`; the remaining entries stay undescribed.
    A failed entry is tried again only after its text has changed or was indexed again.
    """
    described: list[str] = []
    notes: list[str] = []
    stop = StopCondition(context, others_wait)
    result = {"entries": described, "notes": notes}
    if stop() or not context.manager.can_warm_without_unloading(Role.INSTRUCT):
        return result
    try:
        with context.manager.lease(Role.INSTRUCT, stop) as model:
            context.begin(job)
            sampling = context.sampling(job, {"temperature": 0})
            programs = {
                name: prepare(context, job, model, name, sampling)
                for name in PROMPTS
                if not model.spec.bundled or is_compiled(context, name, model)
            }
            notes += [program.note for program in programs.values() if program.note]
            while len(described) < ENTRIES_PER_JOB and not stop() and (id_ := context.journal.take_undescribed()):
                try:
                    entry = context.journal.entry(id_)
                except NotFoundError:
                    continue
                _describe(context, model, programs, sampling, entry, stop, notes)
                described.append(entry.id)
    except CancelledError:
        if context.stop.is_set():
            raise
    return result


def _describe(
    context: TaskContext,
    model: InstructModel,
    programs: dict[str, Program],
    sampling: Sampling,
    entry: Entry,
    stop: Callable[[], bool],
    notes: list[str],
) -> None:
    text = quote(model, entry.text, model.spec.context_length // 4)
    answers = dict.fromkeys(PROMPTS, "")
    for name in PROMPTS:
        program = programs.get(name)
        try:
            if program is None or (model.spec.bundled and not program.optimizer):
                answers[name] = _by_trained_prompt(model, name, sampling, text, stop)
            else:
                answers[name] = whole_words(getattr(program.run(stop, text=text).fields, name), TITLE_CHARACTERS)
        except CancelledError:
            context.journal.put_back_undescribed(entry)
            raise
        except CharlieError as error:
            log.warning("The entry %s has no %s: %s", entry.id, name, error)
            notes.append(f"“{entry.title}” has no {name}: {error.message}")
    context.journal.describe_entry(entry.id, entry.revision, **answers)


def _by_trained_prompt(model: InstructModel, name: str, sampling: Sampling, text: str, stop: Callable[[], bool]) -> str:
    """The bundled model's mood or title by a short prompt: it cannot follow a program without examples."""
    fitted = model.fit([Message("system", PROMPTS[name]), Message("user", text)], sampling.max_tokens)
    pieces: list[str] = []
    for piece in model.stream(fitted, sampling, cancelled=stop):
        if isinstance(piece, str):
            pieces.append(piece)
        elif isinstance(piece, Completion) and piece.finish_reason is FinishReason.CANCELLED:
            raise CancelledError
    answer = whole_words(one_line("".join(pieces), TITLE_CHARACTERS), TITLE_CHARACTERS)
    return answer if name == "title" or answer in MOODS else ""
