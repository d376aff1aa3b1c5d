"""A job that kills every worker, and a worker that cannot start: Charlie gives up and says so."""

from __future__ import annotations

import time
from pathlib import Path

from core.events.types import JobState
from core.library.records import Entry, EntryState
from tasks.jobs.records import Job
from tasks.worker.recovery import MAX_CRASHES, PARKED
from tests.app.commands.charlie import charlie, started
from tests.e2e.processes import until
from tests.faults import phases
from tests.faults.outcome import RECOVERED_SECONDS, Fault, Outcome, too_slow
from tests.faults.stage import SLOW, Stage, kill, left_on, stage
from tests.parked import park
from tests.tasks.conftest import configure_slow
from tests.waiting import ended

BREAKS = "import os, sys\nif 'tasks.worker' in sys.orig_argv:\n    os._exit(3)\n"
"""A `sitecustomize` that ends every worker as soon as it starts."""


def deadly(home: Path) -> Outcome:
    """An ingestion that kills each worker is parked and listed, then retried; another one is skipped."""
    with stage(home) as on:
        job = phases.ingesting(on)
        backs = _die(on, job)
        missed = _not_parked(on, job)
        entry = on.client.journal.entry(job.subject)
        listed = charlie(home, "ps").out
        if "parked" not in listed or job.id not in listed:
            missed.append("`charlie ps` does not list it")
        if charlie(home, "retry", job.id).code or on.client.journal.entry(entry.id).state is not EntryState.INDEXED:
            missed.append("it cannot be retried")
        other = _park(on, entry)  # without killing more workers: after too many, none is started
        if charlie(home, "drop", other.id).code or on.client.journal.entry(entry.id).state is not EntryState.SKIPPED:
            missed.append("it cannot be skipped")
        if on.client.jobs.parked():
            missed.append("a retried or skipped job is still parked")
        missed += too_slow("the worker's return", max(backs), RECOVERED_SECONDS)
        missed += [*on.wait_for_jobs(), *on.broken_promises()]
        jobs, entries = on.jobs_lost(), on.entries_lost()
        on.stop()
        return Outcome(f"the entry says: {entry.error}", max(backs), jobs, entries, left_on(home), tuple(missed))


def _die(on: Stage, job: Job) -> list[float]:
    """Kills the worker in the job until the job is parked; returns the seconds until each next worker was up."""
    backs = []
    for death in range(MAX_CRASHES):
        if death:
            until(lambda: on.client.jobs.get(job.id).state is JobState.RUNNING)
        killed = kill(on.worker())
        backs.append(on.output.wait("is up", killed)[0])
    return backs


def _park(on: Stage, entry: Entry) -> Job:
    on.client.journal.mark_entries({entry.id: entry.revision}, EntryState.FAILED, PARKED)
    return park(on.client, entry, PARKED)


def _not_parked(on: Stage, job: Job) -> list[str]:
    last, entry = ended(on.client.jobs, job.id), on.client.journal.entry(job.subject)
    if (last.state, entry.state) != (JobState.INTERRUPTED, EntryState.FAILED):
        return [f"the ingestion is {last.state}, the entry {entry.state}"]
    if not entry.error == last.error == PARKED or job.id not in [each.id for each in on.client.jobs.parked()]:
        return ["it is not parked"]
    return []


def cannot_start(home: Path) -> Outcome:
    """The question is answered at the next start, when workers can start."""
    broken = home / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(BREAKS)
    configure_slow(home / SLOW)
    with started(home, "ask", "hello", "--max-tokens", "3", PYTHONPATH=str(broken)) as ask:
        _, errors = ask.communicate(timeout=60)
        left = left_on(home)
    first_line = errors.splitlines()[0].removeprefix("charlie: ")
    missed = [] if ask.returncode == 1 and "not started again" in first_line else [f"it ended with {ask.returncode}"]
    began = time.monotonic()
    with stage(home) as on:
        usable = time.monotonic() - began
        (conversation,) = on.client.conversations.conversations()
        until(lambda: len(on.client.conversations.messages(conversation.id)) == 2)
        on.stop()
    return Outcome(first_line, usable, 0, 0, (*left, *left_on(home)), tuple(missed))


FAULTS = [
    Fault(f"worker SIGKILL {MAX_CRASHES} times in one ingestion", deadly),
    Fault("a worker that cannot start", cannot_start),
]
