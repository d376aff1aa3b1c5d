"""Mood and title of what was read in: done while nobody waits, and never at the cost of another model's place."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from core.errors import CancelledError, CharlieError, NotFoundError
from core.instruct import Completion, FinishReason, Message
from core.programs import MOODS, TITLE_CHARACTERS
from core.prompts import MOOD_PROMPT, TITLE_PROMPT
from core.settings import Role
from core.text import one_line
from tasks.journal import quote
from tasks.programs import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.instruct import InstructModel
    from core.library import Entry
    from tasks.jobs import Job
    from tasks.programs import Program
    from tasks.tools import Tools

log = logging.getLogger(__name__)

TOGETHER = 4
"""Entries of one job, so that the list of jobs goes on and the model can be evicted in between."""
LOOK_SECONDS = 0.05
"""Whether somebody waits is looked at this often."""


class Wanted:
    """Whether the work is to end: it was stopped, or somebody waits for the worker."""

    def __init__(self, tools: Tools, waits: Callable[[], bool]) -> None:
        self._tools = tools
        self._waits = waits
        self._looked = 0.0
        self.yields = False
        """Whether it was because somebody waits."""

    def __call__(self) -> bool:
        if not self.yields and time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self.yields = self._waits()
        return self.yields or self._tools.stop.is_set()


def describe_entries(tools: Tools, job: Job, waits: Callable[[], bool]) -> dict[str, Any]:
    """Name mood and title of some entries that have none yet, the newest first; which, and what did not work.

    It ends at once, leaving them as they are, when another model is warm or somebody `waits` for the worker.
    An entry that fails is not tried again until its text changes or is read in anew.
    """
    described: list[str] = []
    notes: list[str] = []
    wanted = Wanted(tools, waits)
    result = {"entries": described, "notes": notes}
    if wanted() or not tools.manager.can_warm_without_unloading(Role.INSTRUCT):
        return result
    try:
        with tools.manager.lease(Role.INSTRUCT, wanted) as model:
            tools.begin(job)
            sampling = tools.sampling(job, usually={"temperature": 0})
            programs = [prepare(tools, job, model, name, sampling) for name in ("mood", "title")]
            notes += [program.note for program in programs if program.note]
            while len(described) < TOGETHER and not wanted() and (id_ := tools.library.take_undescribed()):
                try:
                    entry = tools.library.entry(id_)
                except NotFoundError:
                    continue
                _describe(tools, model, programs, entry, wanted, notes)
                described.append(entry.id)
    except CancelledError:
        if tools.stop.is_set():
            raise
    return result


def _describe(
    tools: Tools,
    model: InstructModel,
    programs: list[Program],
    entry: Entry,
    wanted: Callable[[], bool],
    notes: list[str],
) -> None:
    text = quote(model, entry.text, model.spec.context_length // 4)
    said = {"mood": "", "title": ""}
    for program in programs:
        try:
            if model.spec.starter and not program.optimizer:
                said[program.name] = _as_trained(model, program, text, wanted)
            else:
                said[program.name] = getattr(program.run(wanted, text=text).fields, program.name)
        except CancelledError:
            tools.library.put_back_undescribed(entry)
            raise
        except CharlieError as error:
            log.warning("The entry %s has no %s: %s", entry.id, program.name, error)
            notes.append(f"“{entry.title}” has no {program.name}: {error.message}")
    tools.library.describe_entry(entry.id, entry.revision, **said)


def _as_trained(model: InstructModel, program: Program, text: str, wanted: Callable[[], bool]) -> str:
    """A starter's mood or title, asked for in the words that it has learned: it knows no program without examples."""
    prompt = {"mood": MOOD_PROMPT, "title": TITLE_PROMPT}[program.name]
    fitted = model.fit([Message("system", prompt), Message("user", text)], program.sampling.max_tokens)
    pieces: list[str] = []
    for piece in model.stream(fitted, program.sampling, cancelled=wanted):
        if not isinstance(piece, Completion):
            pieces.append(piece)
        elif piece.finish_reason is FinishReason.CANCELLED:
            raise CancelledError
    said = one_line("".join(pieces), TITLE_CHARACTERS)
    return said if program.name == "title" or said in MOODS else ""
