"""A job cancelled in each phase, twice, and once more after its end."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from core.events.types import JobKind, JobState
from core.library.records import EntryState, MessageState
from tasks.jobs.records import Job
from tests.faults import phases
from tests.faults.outcome import STOPPED_SECONDS, Fault, Outcome, TooLateError, too_slow
from tests.faults.stage import Stage, left_on, stage
from tests.waiting import ended


def cancelled_while(home: Path, reach: phases.Reach) -> Outcome:
    """The text or entry so far is kept, and the waiting jobs run."""
    with stage(home) as on:
        job = reach(on)
        began = time.monotonic()
        on.client.cancel(job.id)
        on.client.cancel(job.id)
        last = ended(on.client.jobs, job.id)
        seconds = time.monotonic() - began
        if last.state is JobState.DONE:
            raise TooLateError("the job was done before it was cancelled")
        missed = [] if last.state is JobState.CANCELLED else [f"the job is {last.state}: {last.error}"]
        if on.client.cancel(job.id) or ended(on.client.jobs, job.id) != last:
            missed.append("a job that has ended was cancelled")
        missed += too_slow("cancelling", seconds, STOPPED_SECONDS)
        missed += _not_kept(on, job)
        on.client.cancel(on.jobs[0].id)  # the job ahead of it, if there was one
        if len(on.jobs) < 2:
            on.queue_more()
        missed += [*on.wait_for_jobs(), *on.broken_promises()]
        jobs, entries = on.jobs_lost(), on.entries_lost()
        on.stop()
        return Outcome(f"{job.kind} {last.state}", seconds, jobs, entries, left_on(home), tuple(missed))


def _not_kept(on: Stage, job: Job) -> list[str]:
    if job.kind is JobKind.INGEST and (state := on.client.journal.entry(job.subject).state) is not EntryState.SAVED:
        return [f"the entry is {state}"]
    if job.kind is JobKind.CHAT and (written := on.client.jobs.written(job.id)):
        reply = on.client.reply(job)
        if reply is None or (reply.text, reply.state) != (written, MessageState.CANCELLED):
            return ["the text so far is not kept"]
    return []


FAULTS = [
    Fault(f"cancelled while {name}", partial(cancelled_while, reach=reach))
    for name, reach in (
        ("queued", phases.queued),
        ("loading", phases.loading),
        ("in prefill", phases.prefilling),
        ("decoding", phases.decoding),
        ("ingesting", phases.ingesting),
    )
]
