"""A question to the journal answered by the recall program, where an optimizer's is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import CancelledError, CharlieError
from core.prompts import number_entries
from tasks.jobs import Text
from tasks.programs import is_compiled, prepare, stats_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.instruct import InstructModel
    from core.settings import Sampling
    from tasks.jobs import Job
    from tasks.tools import Tools


def recall(
    tools: Tools,
    job: Job,
    model: InstructModel,
    entries: Sequence[str],
    question: str,
    sampling: Sampling,
    notes: list[str],
) -> tuple[str, dict[str, Any]] | None:
    """The answer, put out as a whole, and what `--json` shows of it.

    None when no compiled program is in use, or it cannot answer; why not is added to the `notes`.
    """
    if not is_compiled(tools, "recall"):
        return None
    program = prepare(tools, job, model, "recall", sampling)
    if program.note:
        notes.append(program.note)
        return None
    try:
        answer = program.run(tools.stop.is_set, entries=number_entries(entries), question=question)
    except CancelledError:
        raise
    except CharlieError as error:
        notes.append(f"The compiled program 'recall' was left out: {error.message}")
        return None
    text = _cite(answer.fields.answer, answer.fields.citations, len(entries))
    tools.jobs.write(job.id, Text(text))
    return text, {"text": text, **stats_of(tools, job, program, answer)}


def _cite(answer: str, citations: Iterable[int], count: int) -> str:
    """The answer behind the numbers of the entries that it cites, of those that exist."""
    existing = dict.fromkeys(number for number in citations if 1 <= number <= count)
    marks = [f"[{number}]" for number in existing if f"[{number}]" not in answer]
    return " ".join([*marks, answer])
