"""Faults of the interface, which owns the other processes: ended in every way, and a power cut for all three."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import psutil

from core.database.server import APPEND_ONLY
from core.events.types import JobState
from tests.e2e.processes import until
from tests.faults import phases
from tests.faults.outcome import Fault, Outcome, TooLateError
from tests.faults.stage import Stage, interface, left_on, stage
from tests.waiting import ended

CUT = 7
"""Bytes at the end of the append-only file that the power cut loses."""

Begin = Callable[[Path], AbstractContextManager[Stage]]
End = Callable[[Stage], None]


def ended_by(home: Path, begin: Begin, reach: phases.Reach, end: End) -> Outcome:
    """Ends the interface while the worker works, and starts Charlie again."""
    with begin(home) as on:
        reach(on)
        began = time.monotonic()
        end(on)
        left = left_on(home)
    last = on.output.find("ended", began)
    return started_again(on, left, saw=last[1] if last else "it is gone")


def cut_off(home: Path) -> Outcome:
    """Kills all three processes at once and cuts off the end of the append-only file."""
    with stage(home) as on:
        phases.decoding(on)
        last = on.client.journal.new_entry("The last word, which may be cut off.")
        for pid in (on.pid, on.database(), on.worker()):
            os.kill(pid, signal.SIGKILL)
        left = left_on(home)
    file = home / "data" / "database" / APPEND_ONLY
    os.truncate(file, file.stat().st_size - CUT)
    return started_again(on, left, saw="it is gone", maybe=(last.id, last.text))


def started_again(before: Stage, left: tuple[str, ...], saw: str, maybe: tuple[str, str] | None = None) -> Outcome:
    """Checks at the next start what was acknowledged before; the entry `maybe` may be missing."""
    began = time.monotonic()
    with stage(before.home) as on:
        usable = time.monotonic() - began
        on.jobs, on.entries = before.jobs, before.entries | on.entries
        if maybe and maybe[0] in {entry.id for entry in on.client.journal.entries()}:
            on.entries[maybe[0]] = maybe[1]
        if ended(on.client.jobs, on.jobs[0].id).state is JobState.DONE:
            raise TooLateError("the job was done before the end came")
        if len(on.jobs) < 2:
            on.queue_more()
        missed = [*on.wait_for_jobs(), *on.broken_promises()]
        jobs, entries = on.jobs_lost(), on.entries_lost()
        printed = [line for _, line in on.output.lines if not re.match(r"Charlie is up|\d\d:\d\d:\d\d  ", line)]
        on.stop()
    if printed:
        saw += f"; at the next start: {' '.join(printed)}"
    return Outcome(saw, usable, jobs, entries, (*left, *left_on(on.home)), tuple(missed))


def sending(*numbers: signal.Signals) -> End:
    def end(on: Stage) -> None:
        for number in numbers:
            os.kill(on.pid, number)

    return end


def _quit(on: Stage) -> None:
    on.end()


def _quit_held(on: Stage) -> None:
    """Suspends the worker until the signal to end has reached it, so that the load cannot end first."""
    worker = psutil.Process(on.worker())
    worker.suspend()
    on.end()
    until(lambda: _has_signals_waiting(worker.pid))
    worker.resume()


def _has_signals_waiting(pid: int) -> bool:
    found = re.search(r"^ShdPnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1], 16) != 0


WAYS = [
    [signal.SIGKILL],
    [signal.SIGTERM],
    [signal.SIGHUP],
    [signal.SIGINT, signal.SIGINT],
]

FAULTS = [
    Fault(
        f"{name} {' and '.join(number.name for number in numbers)} while generating",
        partial(ended_by, begin=begin, reach=phases.decoding, end=sending(*numbers)),
    )
    for name, begin in (("charlie up", stage), ("interface", interface))
    for numbers in WAYS
]
FAULTS += [
    Fault("quit while loading", partial(ended_by, begin=interface, reach=phases.loading, end=_quit_held)),
    Fault("quit while generating", partial(ended_by, begin=interface, reach=phases.decoding, end=_quit)),
    Fault(f"power cut, and the last {CUT} bytes of the append-only file lost", cut_off, quick=True),
]
