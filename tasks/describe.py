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
from tasks.programs import is_compiled, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.instruct import InstructModel
    from core.library import Entry
    from core.settings import Sampling
    from tasks.jobs import Job
    from tasks.programs import Program
    from tasks.tools import Tools

log = logging.getLogger(__name__)

PROMPTS = {"mood": MOOD_PROMPT, "title": TITLE_PROMPT}
"""The programs that describe an entry, and what a starter is asked instead."""
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
            programs = {
                name: prepare(tools, job, model, name, sampling)
                for name in PROMPTS
                if not model.spec.starter or is_compiled(tools, name)
            }
            notes += [program.note for program in programs.values() if program.note]
            while len(described) < TOGETHER and not wanted() and (id_ := tools.library.take_undescribed()):
                try:
                    entry = tools.library.entry(id_)
                except NotFoundError:
                    continue
                _describe(tools, model, programs, sampling, entry, wanted, notes)
                described.append(entry.id)
    except CancelledError:
        if tools.stop.is_set():
            raise
    return result


def _describe(
    tools: Tools,
    model: InstructModel,
    programs: dict[str, Program],
    sampling: Sampling,
    entry: Entry,
    wanted: Callable[[], bool],
    notes: list[str],
) -> None:
    text = quote(model, entry.text, model.spec.context_length // 4)
    said = dict.fromkeys(PROMPTS, "")
    for name in PROMPTS:
        program = programs.get(name)
        try:
            if program is None or (model.spec.starter and not program.optimizer):
                said[name] = _as_trained(model, name, sampling, text, wanted)
            else:
                said[name] = getattr(program.run(wanted, text=text).fields, name)
        except CancelledError:
            tools.library.put_back_undescribed(entry)
            raise
        except CharlieError as error:
            log.warning("The entry %s has no %s: %s", entry.id, name, error)
            notes.append(f"“{entry.title}” has no {name}: {error.message}")
    tools.library.describe_entry(entry.id, entry.revision, **said)


def _as_trained(model: InstructModel, name: str, sampling: Sampling, text: str, wanted: Callable[[], bool]) -> str:
    """A starter's mood or title, asked for in the words that it has learned: it knows no program without examples."""
    fitted = model.fit([Message("system", PROMPTS[name]), Message("user", text)], sampling.max_tokens)
    pieces: list[str] = []
    for piece in model.stream(fitted, sampling, cancelled=wanted):
        if not isinstance(piece, Completion):
            pieces.append(piece)
        elif piece.finish_reason is FinishReason.CANCELLED:
            raise CancelledError
    said = one_line("".join(pieces), TITLE_CHARACTERS)
    return said if name == "title" or said in MOODS else ""
