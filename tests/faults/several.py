"""Two interfaces and a command on one data folder: when the owner leaves, another one takes over."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from core.events.types import JobChanged, JobKind, JobState
from core.roles import Role
from tasks.jobs.records import Job
from tests.app.commands.charlie import PATIENCE, Ended, charlie
from tests.e2e.processes import databases_on, until, workers_on
from tests.faults import phases
from tests.faults.outcome import RECOVERED_SECONDS, Fault, Outcome, TooLateError, too_slow
from tests.faults.stage import Stage, interface, kill, left_on
from tests.waiting import ended, join

Leave = Callable[[Stage], object]


class AskingThread:
    """A thread that runs `charlie ask` again and again."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._enough = threading.Event()
        self.asked: list[Ended] = []
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._enough.is_set():
            self.asked.append(charlie(self._home, "ask", "hello", "--max-tokens", "3"))

    def end(self) -> None:
        self._enough.set()
        join(self._thread, seconds=PATIENCE)


def left_by_its_owner(home: Path, leave: Leave) -> Outcome:
    """The owner leaves while the reply of the other interface streams and jobs wait; then all leave."""
    with interface(home) as first, interface(home) as on:
        on.entries |= first.entries
        job = phases.decoding(on)
        asking = AskingThread(home)
        try:
            until(lambda: any(each.job.kind is JobKind.CHAT and each.position for each in on.client.queue()))
            missed = _nothing_twice(home)
            old, began = on.worker(), time.monotonic()
            leave(first)
            until(lambda: on.client.snapshot().worker_pid not in (old, None))
            back = time.monotonic() - began
            if ended(on.client.jobs, job.id).state is JobState.DONE:
                raise TooLateError("the reply was complete before the owner left")
            missed += _is_kept(on, job)
            on.track(on.client.warm(Role.INSTRUCT))
            missed += on.wait_for_jobs()
        finally:
            asking.end()
        # A command that took over hands over to the interface when it ends.
        until(lambda: [worker.pid for worker in workers_on(home)] == [on.client.snapshot().worker_pid])
        missed += [*_nothing_twice(home), *_check_commands(on, asking.asked), *on.broken_promises()]
        missed += too_slow("taking over", back, RECOVERED_SECONDS)
        jobs, entries = on.jobs_lost(), on.entries_lost()
        on.stop()
        saw = f"another took over; `charlie ask` answered {len(asking.asked)} times"
        return Outcome(saw, back, jobs, entries, left_on(home), tuple(missed))


def _is_kept(on: Stage, job: Job) -> list[str]:
    """The reply that was streaming when the owner left."""
    reply = on.client.reply(job)
    if reply is None or not reply.text == on.client.jobs.written(job.id) != "":
        return ["the text so far is not kept"]
    return []


def _nothing_twice(home: Path) -> list[str]:
    counts = {"databases": len(databases_on(home)), "workers": len(workers_on(home))}
    return [f"there are {count} {name}" for name, count in counts.items() if count != 1]


def _check_commands(on: Stage, asked: list[Ended]) -> list[str]:
    missed = [f"`charlie ask` ended with {each.code}: {each.err}" for each in asked if each.code or not each.out]
    roles = [
        [message.role for message in on.client.conversations.messages(each.id)]
        for each in on.client.conversations.conversations()
    ]
    if roles != [["user", "assistant"]] * (len(asked) + 1):
        missed.append(f"the conversations are {roles}")
    done = Counter(
        event.id for event in on.client.bus.history() if isinstance(event, JobChanged) and event.state == "done"
    )
    if twice := [id_ for id_, times in done.items() if times > 1]:
        missed.append(f"{len(twice)} jobs were done twice")
    return missed


FAULTS = [
    Fault("two interfaces and `charlie ask`: the owner quits", partial(left_by_its_owner, leave=Stage.stop)),
    Fault(
        "two interfaces and `charlie ask`: the owner SIGKILL",
        partial(left_by_its_owner, leave=lambda first: kill(first.pid, signal.SIGKILL)),
        quick=True,
    ),
]
