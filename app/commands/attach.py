"""Attaches a command to a running Charlie or starts one, and follows the command's job to its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, assert_never

import psutil
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as AnswerLate

from app.client import Client
from app.commands.output import StatusLine
from app.process import exit_on_signals, make_client, note
from app.runtime.owner import Runtime
from core.errors import CancelledError, CharlieError, DatabaseError
from core.events.types import JobState, Phase, WorkerLost
from core.settings import ENV_PREFIX, Settings
from tasks.jobs.records import Ended, Job, Piece

TICK_SECONDS = 0.2
WORKER_SETTINGS = Settings.model_fields.keys() - {"database", "backup", "watchdog", "interface"}
"""Settings of the worker. Only `instruct.sampling` is sent with each job."""
RECONNECT_SECONDS = 10.0
"""A command fails after so long without a database; the embedded one is restarted much sooner."""


class Session:
    """A client, and the runtime that is checked while a command waits."""

    def __init__(self, client: Client, runtime: Runtime) -> None:
        self.client = client
        self.owner = runtime.owner
        """Whether this process started the database, so no model was loaded and no worker was up."""
        self._runtime = runtime
        self._answered = self._ticked = time.monotonic()
        # A database that this process started holds only losses that an earlier owner has reported.
        uptime = 0 if runtime.owner else int(client.redis.info("server")["uptime_in_seconds"]) + 1
        self._up_since = time.time() - uptime

    def tick(self) -> None:
        """Check the runtime; call it often. Raises CharlieError when the worker is given up, DatabaseError when the
        database does not come back.
        """
        now = time.monotonic()
        if now - self._ticked < TICK_SECONDS:
            return
        self._ticked = now
        if notice := self._runtime.tick():
            note(notice)
        self._check_worker(now)

    def _check_worker(self, now: float) -> None:
        try:
            last = self.client.bus.transitions(1)
        except (ConnectionLost, AnswerLate) as error:
            if now - self._answered > RECONNECT_SECONDS:
                raise DatabaseError("The database went away and did not come back.", "Try again.") from error
            return
        self._answered = time.monotonic()
        match last:
            case [WorkerLost() as lost] if lost.attempt > lost.attempts and lost.at > self._up_since:
                raise CharlieError(
                    f"The worker ended {lost.attempt} times in a row ({lost.reason}) and is not started again.",
                    f"Its log is {self.client.paths.logs / 'worker.log'}; `charlie doctor` looks for the cause.",
                )

    def follow(self, submit: Callable[[], Job], on_output: Callable[[Piece], None]) -> dict[str, Any]:
        """Submit a job and pass its output on until it ends; returns its result.

        Ctrl+C and a closed pipe cancel the job and wait for its end. Raises CharlieError when the job fails.
        """
        job: Job | None = None
        try:
            with _interrupt_deferred():
                job = submit()
            return _result(self._deliver(job, on_output))
        except (KeyboardInterrupt, BrokenPipeError) as reason:
            if job is not None and self.client.cancel(job.id):
                if isinstance(reason, KeyboardInterrupt):
                    note("Cancelling …")
                self._deliver(job, lambda _: None)
            raise

    def wait(self, job: Job) -> dict[str, Any]:
        """Wait until a job ends; returns its result. Ctrl+C leaves the job in the queue. Raises CharlieError."""
        return _result(self._deliver(job, lambda _: None))

    def _deliver(self, job: Job, on_output: Callable[[Piece], None]) -> Ended:
        with StatusLine() as status:
            for output in self.client.follow(job.id):
                self.tick()
                if output is None:
                    if status.visible:
                        status.show(self._progress(job.id))
                    continue
                status.show("")
                if isinstance(output, Ended):
                    return output
                on_output(output)
        raise AssertionError("an output ends with Ended")

    def _progress(self, job_id: str) -> str:
        """The job's position in the queue, or its state."""
        try:
            queued = next(iter(self.client.positions([job_id])), None)
            snapshot = self.client.snapshot()
        except ConnectionLost:
            return "waiting for the database"
        if queued is None:
            return ""
        if queued.position > 0:
            about = f" · about {queued.wait:.0f} s" if queued.wait else ""
            return f"waiting · {queued.position - 1} ahead{about}" if queued.position > 1 else f"waiting{about}"
        if snapshot.phase == Phase.LOADING:
            return f"loading {snapshot.role} · {snapshot.model}"
        return str(queued.job.state)


@contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Defer Ctrl+C to the end of the block, so the id of a submitted job is known and can be cancelled."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _result(ended: Ended) -> dict[str, Any]:
    match ended.state:
        case JobState.DONE:
            return ended.result or {}
        case JobState.CANCELLED:
            raise CancelledError("The job was cancelled.", ended.hint)
        case JobState.INTERRUPTED:
            raise CharlieError(ended.error or "The worker ended during this job.", ended.hint or "Ask again.")
        case JobState.FAILED:
            raise CharlieError(ended.error, ended.hint)
        case JobState.QUEUED | JobState.WAITING | JobState.RUNNING:
            raise AssertionError(f"{ended.state} is not the end of a job")
        case _:
            assert_never(ended.state)


@contextmanager
def attach(*, worker: bool, patient: bool) -> Iterator[Session]:
    """See app.commands.session.session."""
    client = make_client()
    exit_on_signals()
    wait = partial(note, "Waiting for another command's job to finish; Ctrl+C stops it.")
    on_wait, on_upkeep = (wait, note) if patient else (None, None)
    with Runtime(client, worker=worker, on_wait=on_wait, note=on_upkeep) as runtime:
        if runtime.notice:
            note(runtime.notice)
        if worker and not runtime.owner and (ignored := _ignored_variables(client)):
            note(f"{', '.join(ignored)}: the running worker was started without this and keeps its own settings.")
        if worker and client.settings.database.url is not None and client.snapshot().worker_pid is None:
            note("No worker serves this database yet; `charlie worker` starts one.")
        yield Session(client, runtime)


def _ignored_variables(client: Client) -> list[str]:
    """The variables for the worker in this environment that differ from the running worker's."""
    pid = client.snapshot().worker_pid
    if pid is None or client.settings.database.url is not None:
        return []
    try:
        theirs = psutil.Process(pid).environ()
    except psutil.Error:
        return []
    return [name for name, value in os.environ.items() if _is_for_worker(name) and theirs.get(name) != value]


def _is_for_worker(variable: str) -> bool:
    section, *key = variable.removeprefix(ENV_PREFIX).lower().split("__")
    return variable.startswith(ENV_PREFIX) and section in WORKER_SETTINGS and key[:1] != ["sampling"]
