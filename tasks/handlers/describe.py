"""Names the titles of indexed entries while the queue is empty; never unloads another model for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from core.errors import CancelledError, CharlieError, NotFoundError
from core.llama.instruct import quote
from core.programs.signatures import TITLE_CHARACTERS
from core.roles import Role
from core.text import whole_words
from tasks.handlers.context import TaskContext, stop_condition
from tasks.handlers.programs import follows_programs, prepare
from tasks.jobs.records import Job

log = logging.getLogger(__name__)

ENTRIES_PER_JOB = 4
"""Between two jobs the model can be evicted."""


def describe_entries(context: TaskContext, job: Job, others_wait: Callable[[], bool]) -> dict[str, Any]:
    """Name the titles of some entries, newest first; returns their ids and notes on failures.

    Ends at once when another model is warm or `others_wait`; the remaining entries stay undescribed. A small model
    names none: the first clause of an entry is its title. A failed entry is tried again only after its text has
    changed or was indexed again.
    """
    described: list[str] = []
    notes: list[str] = []
    stop = stop_condition(context, others_wait)
    result = {"entries": described, "notes": notes}
    if (
        stop()
        or not follows_programs(context.manager.wanted(Role.INSTRUCT))
        or not context.manager.can_warm_without_unloading(Role.INSTRUCT)
    ):
        return result
    try:
        with context.manager.lease(Role.INSTRUCT, stop) as model:
            context.begin(job)
            program = prepare(context, job, model, "title", context.sampling(job, {"temperature": 0}))
            notes += [program.note] if program.note else []
            while len(described) < ENTRIES_PER_JOB and not stop() and (id_ := context.journal.take_undescribed()):
                try:
                    entry = context.journal.entry(id_)
                    text = quote(model, entry.text, model.spec.context_length // 4)
                    title = whole_words(program.run(stop, text=text).fields.title, TITLE_CHARACTERS)
                except NotFoundError:
                    continue
                except CancelledError:
                    context.journal.put_back_undescribed(entry)
                    raise
                except CharlieError as error:
                    log.warning("The entry %s has no title: %s", entry.id, error)
                    notes.append(f"“{entry.title}” has no title: {error.message}")
                    title = ""
                context.journal.describe_entry(entry.id, entry.revision, title)
                described.append(entry.id)
    except CancelledError:
        if context.stop.is_set():
            raise
    return result
