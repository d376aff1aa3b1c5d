"""A job that kills every worker, and a worker that cannot live: both are given up, and said to be."""

from __future__ import annotations

import time
from pathlib import Path

from core.library import Entry, EntryState
from tasks.jobs import Ended, Job, JobKind, JobState
from tasks.runner import DEADLY, SET_ASIDE
from tests.app.charlie import charlie, started
from tests.e2e.processes import until
from tests.faults import phases
from tests.faults.outcome import BACK_SECONDS, Fault, Outcome
from tests.faults.stage import SLOW, Stage, kill, left_on, stage
from tests.tasks.conftest import configure_slow
from tests.waiting import ended

BREAKS = "import os, sys\nif 'tasks.worker' in sys.orig_argv:\n    os._exit(3)\n"
"""As a `sitecustomize`, this ends every worker as soon as it starts."""


def deadly(home: Path) -> Outcome:
    """An ingestion in which the worker dies each time is set aside and shown, then retried; another one is dropped."""
    with stage(home) as on:
        job = phases.ingesting(on)
        backs = _die(on, job)
        missed = _not_set_aside(on, job)
        entry = on.client.library.entry(job.subject)
        listed = charlie(home, "ps").out
        if "set aside" not in listed or job.id not in listed:
            missed.append("`charlie ps` does not list it")
        if charlie(home, "retry", job.id).code or on.client.library.entry(entry.id).state is not EntryState.FINDABLE:
            missed.append("it cannot be retried")
        other = _aside_again(on, entry)  # more deaths in a row, and no worker would be started again
        if charlie(home, "drop", other.id).code or on.client.library.entry(entry.id).state is not EntryState.DROPPED:
            missed.append("it cannot be dropped")
        if on.client.jobs.aside():
            missed.append("what was decided on is still set aside")
        if max(backs) > BACK_SECONDS:
            missed.append(f"the worker came back after {max(backs):.1f} s")
        missed += [*on.finish(), *on.broken_promises()]
        jobs, entries = on.jobs_lost(), on.entries_lost()
        on.stop()
        return Outcome(f"the entry says: {entry.error}", max(backs), jobs, entries, left_on(home), tuple(missed))


def _die(on: Stage, job: Job) -> list[float]:
    """Have the worker die in the job until it is set aside; returns how long each took to come back."""
    backs = []
    for death in range(DEADLY):
        if death:
            until(lambda: on.client.jobs.get(job.id).state is JobState.RUNNING)
        killed = kill(on.worker())
        backs.append(on.said.wait("is up", killed)[0])
    return backs


def _aside_again(on: Stage, entry: Entry) -> Job:
    jobs = on.client.jobs
    job = jobs.create(JobKind.INGEST, {"entry": entry.id}, entry.id)
    jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED})
    on.client.library.mark_entry(entry.id, entry.revision, EntryState.FAILED, SET_ASIDE)
    jobs.set_aside(job.id, Ended(JobState.INTERRUPTED, error=SET_ASIDE))
    return job


def _not_set_aside(on: Stage, job: Job) -> list[str]:
    last, entry = ended(on.client.jobs, job.id), on.client.library.entry(job.subject)
    if (last.state, entry.state) != (JobState.INTERRUPTED, EntryState.FAILED):
        return [f"the ingestion is {last.state}, the entry {entry.state}"]
    if not entry.error == last.error == SET_ASIDE or job.id not in [each.id for each in on.client.jobs.aside()]:
        return ["it is not set aside"]
    return []


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
