"""Faults of the database: killed while idle, and in the middle of what is written to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import redis

from tasks.jobs import Ended, JobKind, JobState, Text
from tasks.queue import withdraw
from tests.e2e.processes import databases_on, until
from tests.faults import phases
from tests.faults.outcome import BACK_SECONDS, Fault, Outcome
from tests.faults.stage import Stage, interface, kill, left_on, stage
from tests.faults.worker import is_stored_once
from tests.waiting import PATIENCE, output

BURST = 10_000
RUN_OF_BURST = 20
"""How many jobs of the burst are left to be run; the others are withdrawn."""
KILLS = 3
"""How often the database is killed in one stream."""


def _outcome(on: Stage, saw: str, back: float, missed: list[str]) -> Outcome:
    """Wait for what waited, look at what is there, and end."""
    missed += [*on.finish(), *on.broken_promises()]
    if back > BACK_SECONDS:
        missed.append(f"the database came back after {back:.1f} s")
    jobs, entries = on.jobs_lost(), on.entries_lost()
    on.stop()
    return Outcome(saw, back, jobs, entries, left_on(on.home), tuple(missed))


def _said_since(on: Stage, since: float) -> str:
    """What was said of it, without what a healthy worker is said to do."""
    lost = on.said.find("lost", since)
    return lost[1] if lost else ""


def _await_another(on: Stage, old: int, since: float) -> float:
    """Seconds until another database answers."""
    until(lambda: on.client.database_pid() not in (old, None))
    on.client.redis.ping()
    return time.monotonic() - since


def killed_while_idle(home: Path, begin: Callable[[Path], AbstractContextManager[Stage]] = interface) -> Outcome:
    """An entry that is saved meanwhile is saved all the same; all that follows waits for the database."""
    with begin(home) as on:
        old = on.database()
        began = kill(old)
        missed = []
        try:
            on.save("Written while the database was away.")
        except redis.ConnectionError:
            missed.append(f"what was being saved was given up after {time.monotonic() - began:.1f} s")
        back = _await_another(on, old, began)
        on.ask(on.client.unload())
        on.ask_for_more()
        if len(databases_on(home)) != 1:
            missed.append("there is not exactly one database")
        saw = _said_since(on, began) or "nothing"
        return _outcome(on, saw, back, missed)


def killed_in_a_stream(home: Path) -> Outcome:
    """The text as it was followed, as it stands in the stream and as it is stored is one and the same."""
    with interface(home) as on:
        job = on.ask(phases.chat(on, "hello", max_tokens=2500))
        on.ask_for_more()
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
    """Ten thousand jobs behind a long one; what was acknowledged is there, in order, and some are run."""
    with interface(home) as on:
        phases.decoding(on)
        half, old = threading.Event(), on.database()
        killer = threading.Thread(target=lambda: half.wait(PATIENCE) and kill(old))
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
        killer.join()
        on.jobs += burst
        lost = on.jobs_lost()
        ids = [job.id for job in on.jobs]
        queued = [each.job.id for each in on.client.queue()]
        missed = [] if queued == ids[len(ids) - len(queued) :] else ["the queue is not in the order of asking"]
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
