"""Faults of the database: killed while idle, and while it is written to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import redis

from core.database.connection import read_address
from core.events.types import JobKind, JobState
from tasks.jobs.records import Ended, Text
from tasks.queue.huey_queue import withdraw
from tests.e2e.processes import databases_on, until
from tests.faults import phases
from tests.faults.outcome import RECOVERED_SECONDS, Fault, Outcome, too_slow
from tests.faults.stage import Stage, interface, kill, left_on, stage
from tests.faults.worker import is_stored_once
from tests.waiting import PATIENCE, join, output

BURST = 10_000
RUN_OF_BURST = 20
"""Jobs of the burst that run; the others are withdrawn."""
KILLS = 3
"""How often the database is killed in one stream."""


def _outcome(on: Stage, saw: str, back: float, missed: list[str]) -> Outcome:
    """Waits for the jobs, checks what was kept, and stops Charlie."""
    missed += [*on.wait_for_jobs(), *on.broken_promises()]
    missed += too_slow("the database's return", back, RECOVERED_SECONDS)
    jobs, entries = on.jobs_lost(), on.entries_lost()
    on.stop()
    return Outcome(saw, back, jobs, entries, left_on(on.home), tuple(missed))


def _said_since(on: Stage, since: float) -> str:
    """The line that reports the loss, without lines about a healthy worker."""
    lost = on.output.find("lost", since)
    return lost[1] if lost else ""


def _await_another(on: Stage, old: int, since: float) -> float:
    """Seconds until another database answers."""
    until(lambda: (address := read_address(on.client.paths)) is not None and address.pid != old)
    on.client.redis.ping()
    return time.monotonic() - since


def killed_while_idle(home: Path, begin: Callable[[Path], AbstractContextManager[Stage]] = interface) -> Outcome:
    """Saving an entry and asking for jobs wait until the database is back, and then succeed."""
    with begin(home) as on:
        old = on.database()
        began = kill(old)
        missed = []
        try:
            on.save("Written while the database was away.")
        except redis.ConnectionError:
            missed.append(f"saving an entry failed after {time.monotonic() - began:.1f} s")
        back = _await_another(on, old, began)
        on.track(on.client.unload())
        on.queue_more()
        if len(databases_on(home)) != 1:
            missed.append("there is not exactly one database")
        saw = _said_since(on, began) or "nothing"
        return _outcome(on, saw, back, missed)


def killed_in_a_stream(home: Path) -> Outcome:
    """The reply is the same where it was followed, in its stream and in the conversation."""
    with interface(home) as on:
        job = on.track(phases.chat(on, "hello", max_tokens=500))
        on.queue_more()
        began = time.monotonic()
        backs: list[float] = []
        pieces = []
        for piece in output(on.client.jobs, job.id):
            pieces.append(piece)
            if len(backs) < KILLS and len(pieces) % 3 == 0:
                old = on.database()
                backs.append(_await_another(on, old, kill(old)))
        last = pieces[-1]
        assert isinstance(last, Ended)
        text = "".join(piece.text for piece in pieces if isinstance(piece, Text))
        reply, missed = on.client.reply(job), []
        if last.state not in (JobState.DONE, JobState.INTERRUPTED) or len(backs) < KILLS:
            missed.append(f"the chat is {last.state} after {len(backs)} losses: {last.error}")
        if reply is None or not reply.text == text == on.client.jobs.written(job.id):
            stored = len(reply.text) if reply else 0
            missed.append(f"followed {len(text)} characters, stored {stored}: they differ")
        saw = f"{_said_since(on, began) or 'the reply went on'}; {len(text)} characters, chat {last.state}"
        return _outcome(on, saw, max(backs, default=0.0), missed)


def killed_in_an_ingestion(home: Path) -> Outcome:
    with interface(home) as on:
        job = phases.ingesting(on)
        old = on.database()
        began = kill(old)
        back = _await_another(on, old, began)
        missed = is_stored_once(on, job)
        return _outcome(on, _said_since(on, began) or "the ingestion went on", back, missed)


def killed_in_a_burst(home: Path) -> Outcome:
    """10,000 jobs behind a long one: all acknowledged jobs are kept in order, and the first of them run."""
    with interface(home) as on:
        phases.decoding(on)
        half, old = threading.Event(), on.database()
        killer = threading.Thread(target=lambda: half.wait(5 * PATIENCE) and kill(old), daemon=True)
        killer.start()
        began = slowest = 0.0
        burst = []
        for number in range(BURST):
            if number == BURST // 2:
                began = time.monotonic()
                half.set()
            asked = time.monotonic()
            burst.append(on.client.submit(JobKind.UNLOAD, {}))
            slowest = max(slowest, time.monotonic() - asked)
        join(killer)
        on.jobs += burst
        lost = on.jobs_lost()
        ids = [job.id for job in on.jobs]
        queued = [each.job.id for each in on.client.queue()]
        missed = [] if queued == ids[len(ids) - len(queued) :] else ["the queue has changed its order"]
        if on.database() == old:
            missed.append("the database was not killed")
        for job in reversed(on.jobs[RUN_OF_BURST:]):
            withdraw(on.client._queue, job.kind, job.id)
        on.client.cancel(on.jobs[0].id)
        del on.jobs[RUN_OF_BURST:]
        saw = _said_since(on, began) or "nothing"
        saw += f"; {BURST:,} jobs acknowledged, {len(queued):,} in the queue; one took {slowest:.2f} s"
        found = _outcome(on, saw, slowest, missed)
        return Outcome(found.saw, found.usable, lost + found.jobs_lost, found.entries_lost, found.left, found.missed)


FAULTS = [
    Fault("database SIGKILL while idle", killed_while_idle),
    Fault("database SIGKILL under `charlie up`", partial(killed_while_idle, begin=stage)),
    Fault(f"database SIGKILL in a token stream, {KILLS} times", killed_in_a_stream),
    Fault("database SIGKILL in an ingestion", killed_in_an_ingestion, quick=True),
    Fault(f"database SIGKILL in a burst of {BURST:,} jobs", killed_in_a_burst),
]
