"""Faults of the worker: killed in each phase, stopped, and aborted."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from core.events.types import JobState, StateChanged, WorkerLost
from core.library.records import EntryState, MessageState
from tasks.jobs.records import Job
from tests.faults import phases
from tests.faults.outcome import RECOVERED_SECONDS, REPORTED_SECONDS, Fault, Outcome, too_slow
from tests.faults.stage import Stage, kill, left_on, stage
from tests.waiting import ended

Check = Callable[[Stage, Job], list[str]]


def lost_while(
    home: Path, number: signal.Signals, phase: str, reach: phases.Reach | None, check: Check | None
) -> Outcome:
    """Ends the worker in a phase, and waits until every waiting job is done."""
    with stage(home) as on:
        job = reach(on) if reach else None
        old = on.worker()
        began = kill(old, number)
        reported, saw = on.output.wait("lost", began)
        back, _ = on.output.wait("is up", began)
        on.check_lost_in(phase)
        if len(on.jobs) < 2:
            on.track(on.client.unload())
            on.queue_more()
        missed = check(on, job) if check and job else []
        missed += [*on.wait_for_jobs(), *on.broken_promises(), *_wrong_transition(on)]
        missed += too_slow("the report", reported, REPORTED_SECONDS)
        missed += too_slow("the worker's return", back, RECOVERED_SECONDS)
        jobs, entries = on.jobs_lost(), on.entries_lost()
        on.stop()
        return Outcome(_without_time(saw, reported), back, jobs, entries, left_on(home), tuple(missed))


def _without_time(saw: str, reported: float) -> str:
    return f"{saw.partition('  ')[2]}, after {reported:.2f} s"


def _wrong_transition(on: Stage) -> list[str]:
    """After a loss nothing is loaded, so the next transition starts from Empty."""
    lost = False
    for event in on.history():
        if lost and isinstance(event, StateChanged):
            return [] if event.source == "empty" else [f"the first transition after the loss is from {event.source}"]
        lost = lost or isinstance(event, WorkerLost)
    return ["no transition follows the loss"]


def is_interrupted(on: Stage, job: Job) -> list[str]:
    last = ended(on.client.jobs, job.id)
    if last.state is JobState.INTERRUPTED and last.error and last.hint:
        return []
    return [f"{job.kind} is {last.state}, {last.error!r}"]


def keeps_its_text(on: Stage, job: Job) -> list[str]:
    """The text of an interrupted reply is kept, and the reply can be asked for again."""
    missed = is_interrupted(on, job)
    reply = on.client.reply(job)
    if not reply or reply.state is not MessageState.INTERRUPTED or reply.text != on.client.jobs.written(job.id) != "":
        missed.append("the text so far is not kept")
    again = on.track(on.client.regenerate(job.subject, max_tokens=3))
    if ended(on.client.jobs, again.id).state is not JobState.DONE:
        missed.append("it cannot be asked for again")
    return missed


def is_stored_once(on: Stage, job: Job) -> list[str]:
    last = ended(on.client.jobs, job.id)
    if last.state is not JobState.DONE:
        return [f"the ingestion is {last.state}"]
    missed = []
    found = on.client.journal.entry(job.subject)
    if (found.state, found.ingested) != (EntryState.INDEXED, found.revision):
        missed.append(f"the entry is {found.state}")
    keys = on.client.redis.keys("charlie:vectors:*")
    if sum(bool(on.client._raw.hexists(key, job.subject)) for key in keys) != 1:
        missed.append("the entry's vectors are not stored exactly once")
    return missed


PHASES: list[tuple[str, str, phases.Reach | None, Check | None]] = [
    ("idle", "empty", None, None),
    ("loading", "loading", phases.loading, is_interrupted),
    ("in prefill", "warm", phases.prefilling, is_interrupted),
    ("decoding", "warm", phases.decoding, keeps_its_text),
    ("ingesting", "warm", phases.ingesting, is_stored_once),
    ("unloading", "unloading", phases.unloading, is_interrupted),
]

FAULTS = [
    Fault(
        f"worker SIGKILL while {name}",
        partial(lost_while, number=signal.SIGKILL, phase=phase, reach=reach, check=check),
        quick=name == "decoding",
    )
    for name, phase, reach, check in PHASES
]
FAULTS += [
    Fault(
        f"worker {number.name} while decoding",
        partial(lost_while, number=number, phase="warm", reach=phases.decoding, check=keeps_its_text),
    )
    for number in (signal.SIGSTOP, signal.SIGABRT)
]
