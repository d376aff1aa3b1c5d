"""Faults of size: a long queue, a journal and a conversation of years, one huge entry; the interface answers keys."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from core.settings import Role
from tasks.jobs import Job, JobState
from tests.app.charlie import charlie
from tests.faults import phases
from tests.faults.outcome import Fault, Outcome
from tests.faults.stage import Stage, interface, left_on

LONG_QUEUE = 10_000
KEY_SECONDS = 0.2
"""A key that was pressed shows on the screen at most this long after."""
COMMAND_SECONDS = 2.0
KEYS = "quick brown fox"


def keys_answered(on: Stage, keys: str = KEYS) -> float:
    """Seconds that the slowest of some keys took from being pressed to being seen; the line ends as it was."""
    slowest, typed = 0.0, ""
    for key in keys:
        typed += key
        began = time.monotonic()
        on.press(key)
        if key != " ":
            slowest = max(slowest, on.said.wait(typed, began)[0])
    on.press("\x7f" * len(keys))
    return slowest


def too_slow(what: str, seconds: float, limit: float = KEY_SECONDS) -> list[str]:
    return [f"{what} took {seconds:.2f} s"] if seconds > limit else []


def long_queue(home: Path) -> Outcome:
    """Somebody asks for 10,000 jobs while a reply is written and another waits; then one of them is cancelled."""
    with interface(home) as on, ThreadPoolExecutor(1) as filler:
        phases.decoding(on)
        began = time.monotonic()
        on.press("first\r")
        on.said.wait(f"waiting · {len(on.jobs)} ahead", began)
        began = time.monotonic()
        filling = filler.submit(_fill, on)
        during = 0.0
        while not filling.done():
            during = max(during, keys_answered(on))
        filled = time.monotonic() - began
        jobs = filling.result()
        after = keys_answered(on)
        on.press("last\r")
        on.said.wait(f"waiting · {LONG_QUEUE + len(on.jobs) + 1} ahead")
        began = time.monotonic()
        listed = charlie(home, "ps")
        ps = time.monotonic() - began
        began = time.monotonic()
        on.client.cancel(jobs[len(jobs) // 2].id)
        cancelled = time.monotonic() - began
        missed = [
            *too_slow("a key while it was filled", during),
            *too_slow("a key", after),
            *too_slow("`charlie ps`", ps, COMMAND_SECONDS),
            *too_slow("cancelling", cancelled),
        ]
        if str(LONG_QUEUE + len(on.jobs) + 2) not in listed.out:
            missed.append("`charlie ps` did not tell how long the queue is")
        if on.client.jobs.get(jobs[len(jobs) // 2].id).state is not JobState.CANCELLED:
            missed.append("a waiting job was not cancelled")
        on.stop()
    saw = (
        f"{LONG_QUEUE:,} jobs asked for in {filled:.1f} s; slowest key {during * 1000:.0f} ms meanwhile, "
        f"{after * 1000:.0f} ms after; `charlie ps` {ps:.1f} s"
    )
    return Outcome(saw, 0.0, left=left_on(home), missed=tuple(missed))


def _fill(on: Stage) -> list[Job]:
    return [on.client.warm(Role.EMBEDDING) for _ in range(LONG_QUEUE)]


FAULTS = [
    Fault("10,000 jobs in the queue", long_queue),
]
