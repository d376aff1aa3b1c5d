"""Faults of the worker: killed in each phase, stopped, aborted, and one that cannot live."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from core.events import StateChanged, WorkerLost
from core.library import EntryState, MessageState
from tasks.jobs import Job, JobState
from tests.faults import phases
from tests.faults.outcome import BACK_SECONDS, TOLD_SECONDS, Fault, Outcome
from tests.faults.stage import Stage, kill, left_on, stage
from tests.waiting import ended

Check = Callable[[Stage, Job], list[str]]


def lost_while(
    home: Path, number: signal.Signals, phase: str, reach: phases.Reach | None, check: Check | None
) -> Outcome:
    """The worker is ended in a phase; returns once every job that waited is done."""
    with stage(home) as on:
        job = reach(on) if reach else None
        old = on.worker()
        began = kill(old, number)
        told, saw = on.said.wait("lost", began)
        back, _ = on.said.wait("is up", began)
        on.died_in(phase)
        if len(on.jobs) < 2:
            on.ask(on.client.unload())
            on.ask_for_more()
        missed = check(on, job) if check and job else []
        missed += [*on.finish(), *on.broken_promises(), *_untrue(on)]
        if told > TOLD_SECONDS:
            missed.append(f"told of after {told:.1f} s")
        if back > BACK_SECONDS:
            missed.append(f"the worker came back after {back:.1f} s")
        jobs, entries = on.jobs_lost(), on.entries_lost()
        on.stop()
        return Outcome(_without_time(saw, told), back, jobs, entries, left_on(home), tuple(missed))


def _without_time(saw: str, told: float) -> str:
    return f"{saw.partition('  ')[2]}, after {told:.2f} s"


def _untrue(on: Stage) -> list[str]:
    """After a loss nothing is loaded, so the next transition leads from Empty."""
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
    """A chat that had said something; it can be asked for again."""
    missed = is_interrupted(on, job)
    reply = on.client.reply(job)
    if not reply or reply.state is not MessageState.INTERRUPTED or reply.text != on.client.jobs.written(job.id) != "":
        missed.append("the text so far is not kept")
    again = on.ask(on.client.regenerate(job.subject, max_tokens=3))
    if ended(on.client.jobs, again.id).state is not JobState.DONE:
        missed.append("it cannot be asked for again")
    return missed


def is_stored_once(on: Stage, job: Job) -> list[str]:
    last = ended(on.client.jobs, job.id)
    if last.state is not JobState.DONE:
        return [f"the ingestion is {last.state}"]
    missed = []
    found = on.client.library.entry(job.subject)
    if (found.state, found.ingested) != (EntryState.FINDABLE, found.revision):
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
