"""A job that kills every worker, and a worker that cannot live: both are given up, and said to be."""

from __future__ import annotations

import time
from pathlib import Path

from core.events import JobProgress
from core.library import EntryState
from tasks.jobs import JobState
from tasks.runner import DEADLY
from tests.app.charlie import started
from tests.e2e.processes import until
from tests.faults import phases
from tests.faults.outcome import BACK_SECONDS, Fault, Outcome
from tests.faults.stage import SLOW, kill, left_on, stage
from tests.tasks.conftest import configure_slow
from tests.waiting import ended, first, happening

BREAKS = "import os, sys\nif 'tasks.worker' in sys.orig_argv:\n    os._exit(3)\n"
"""As a `sitecustomize`, this ends every worker as soon as it starts."""


def deadly(home: Path) -> Outcome:
    """An ingestion in which the worker dies each time is set aside and shown; asked for by hand, it is done."""
    with stage(home) as on:
        job = phases.ingesting(on)
        backs = []
        for death in range(1, DEADLY + 1):
            events = happening(on.client.bus)
            next(events)
            if death > 1:
                first(events, lambda event: isinstance(event, JobProgress) and event.id == job.id)
            began = kill(on.worker())
            backs.append(on.said.wait("is up", began)[0])
        last = ended(on.client.jobs, job.id)
        entry = on.client.library.entry(job.subject)
        missed = []
        if (last.state, entry.state) != (JobState.INTERRUPTED, EntryState.FAILED):
            missed.append(f"the ingestion is {last.state}, the entry {entry.state}")
        if max(backs) > BACK_SECONDS:
            missed.append(f"the worker came back after {max(backs):.1f} s")
        again = on.client.ingest(entry)
        if ended(on.client.jobs, again.id).state is not JobState.DONE:
            missed.append("it cannot be asked for by hand")
        missed += [*on.finish(), *on.broken_promises()]
        jobs, entries = on.jobs_lost(), on.entries_lost()
        on.stop()
        return Outcome(f"the entry says: {entry.error}", max(backs), jobs, entries, left_on(home), tuple(missed))


def cannot_live(home: Path) -> Outcome:
    """What was asked for is answered at the next start, once workers live again."""
    broken = home / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(BREAKS)
    configure_slow(home / SLOW)
    with started(home, "ask", "hello", "--max-tokens", "3", PYTHONPATH=str(broken)) as ask:
        _, said = ask.communicate(timeout=60)
        left = left_on(home)
    first_line = said.splitlines()[0].removeprefix("charlie: ")
    missed = [] if ask.returncode == 1 and "not started again" in first_line else [f"it ended with {ask.returncode}"]
    began = time.monotonic()
    with stage(home) as on:
        usable = time.monotonic() - began
        (conversation,) = on.client.library.conversations()
        until(lambda: len(on.client.library.messages(conversation.id)) == 2)
        on.stop()
    return Outcome(first_line, usable, 0, 0, (*left, *left_on(home)), tuple(missed))


FAULTS = [
    Fault(f"worker SIGKILL {DEADLY} times in one ingestion", deadly),
    Fault("a worker that cannot live", cannot_live),
]
