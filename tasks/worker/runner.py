"""Runs one job after the other: takes it, does it, records how it ended."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, assert_never

import redis

from core.database import keys
from core.database.connection import await_writable, explain, refuses_writes
from core.errors import CancelledError, CharlieError
from core.events.types import TAKEN, UNENDED, JobKind, JobState, Phase, QueueChanged
from core.roles import Role
from tasks.handlers import ask, chat, describe, feel, ingest, models, reflect, search
from tasks.handlers.context import TaskContext
from tasks.jobs.records import Ended, Job
from tasks.queue.huey_queue import Queue, make_queue, put_back
from tasks.worker.idle_work import IdleWork
from tasks.worker.look_ahead import LookAhead
from tasks.worker.model_eviction import Eviction

log = logging.getLogger(__name__)


class Runner:
    """The worker's end of the queue. Huey's one thread calls `run` and `evict`."""

    def __init__(self, context: TaskContext) -> None:
        self._context = context
        self._current: str | None = None
        self._lock = threading.RLock()  # a signal handler may take it while the same thread holds it
        self.queue: Queue = make_queue(context.raw.connection_pool, self.run, self.evict)
        self._look_ahead = LookAhead(context, self.queue)
        self.idle_work = IdleWork(context, self.queue)
        self.eviction = Eviction(context, self.queue, self.idle_work)

    @property
    def phase(self) -> Phase:
        return self._context.manager.announcer.snapshot.phase

    @property
    def busy(self) -> bool:
        """Whether a job runs, or a model is being loaded or unloaded."""
        return self._current is not None or self.phase in (Phase.LOADING, Phase.UNLOADING)

    def preload(self) -> None:
        """Queue a load of each model with `preload` in the settings."""
        for role in Role:
            if self._context.manager.last_good_settings.role(role).preload:
                self.idle_work.submit(JobKind.WARM, {"role": role.value, "preload": True}, role.value)

    def run(self, job_id: str) -> None:
        """Do a job that is still wanted.

        A full disk is waited for. A lost database ends the process; the next worker recovers the taken job.
        """
        try:
            self._run(job_id)
        except redis.RedisError as error:
            if not refuses_writes(error):
                _end(error)
            log.warning("The database cannot write; waiting until it can. %s", error)
            await_writable(self._context.raw, self._context.leaving)
            failure = explain(error)
            self._context.jobs.end(job_id, Ended(JobState.FAILED, error=failure.message, hint=failure.hint), UNENDED)

    def evict(self) -> None:
        """Unload the idle models that are due."""
        try:
            self.eviction.evict()
        except redis.RedisError as error:
            if not refuses_writes(error):
                _end(error)
            log.warning("The model stays warm while the database cannot write. %s", error)

    def _run(self, job_id: str) -> None:
        context = self._context
        with self._stoppable(job_id):
            job = self._take(job_id)
            if job is None:
                return
            if job.kind is JobKind.UNLOAD:  # now, since in the freed memory a description would begin at once
                self.idle_work.pause()
            began = time.monotonic()
            self._look_ahead.running = job
            ended = self._attempt(job)
            self._look_ahead.running = None
        if ended.state is JobState.INTERRUPTED and job.kind is JobKind.INGEST:
            context.jobs.advance(job.id, JobState.QUEUED, TAKEN)  # it can be run again, so it is not lost
            put_back(self.queue, job.kind, job.id)
            return
        context.jobs.end(job.id, ended)
        log.info("%s %s is %s %s", job.kind, job.id, ended.state, ended.error)
        if ended.state is JobState.DONE:
            context.jobs.measure(job.kind, time.monotonic() - began)
        self.idle_work.note_end(job, ended)
        context.bus.publish(QueueChanged(self.queue.storage.queue_size(), None))
        self.eviction.plan()

    def _take(self, job_id: str) -> Job | None:
        """Mark a job as taken; None when it is no longer wanted."""

        def also(pipe: Any, _: Job, asked_to_stop: int, waiting: int) -> None:
            if asked_to_stop:
                self._context.stop.set()
            self._context.bus.add(pipe, QueueChanged(waiting, job_id))

        reads = ("EXISTS", keys.cancel(job_id)), ("LLEN", self.queue.storage.queue_key)
        queued = {JobState.QUEUED}
        return self._context.jobs.advance(job_id, self._first_state, queued, also, reads, started=time.time())

    def _first_state(self, job: Job) -> JobState:
        """RUNNING for a chat whose model is warm: its first token comes sooner without WAITING."""
        try:
            warm = job.kind is JobKind.CHAT and self._context.manager.is_warm(Role.INSTRUCT)
        except CharlieError:  # about the model's file; the attempt reports it
            warm = False
        return JobState.RUNNING if warm else JobState.WAITING

    def _attempt(self, job: Job) -> Ended:
        try:
            return Ended(JobState.DONE, self._do(job))
        except CancelledError:
            return Ended(JobState.INTERRUPTED if self._context.leaving.is_set() else JobState.CANCELLED)
        except CharlieError as error:
            return Ended(JobState.FAILED, error=error.message, hint=error.hint)
        except redis.RedisError:
            raise
        except Exception as error:
            log.exception("The job %s (%s) failed.", job.id, job.kind)
            return Ended(
                JobState.FAILED,
                error=f"Unexpected error: {type(error).__name__}: {error}.",
                hint="The Log screen has the details.",
            )

    def _do(self, job: Job) -> dict[str, Any]:
        match job.kind:
            case JobKind.CHAT:
                return chat.chat_response(self._context, job)
            case JobKind.INGEST:
                return ingest.ingest_entries(self._context, job, self.queue.waiting_or_closing)
            case JobKind.SEARCH:
                return search.search_journal(self._context, job)
            case JobKind.ASK:
                return ask.ask_journal(self._context, job)
            case JobKind.REFLECT:
                return reflect.reflect(self._context, job)
            case JobKind.DESCRIBE | JobKind.FEEL:
                idle = feel.read_feelings if job.kind is JobKind.FEEL else describe.describe_entries
                return idle(self._context, job, self.queue.waiting_or_closing)
            case JobKind.WARM:
                return models.warm(self._context, job)
            case JobKind.UNLOAD:
                return models.unload(self._context, job)
            case JobKind.PLAN:
                return models.plan(self._context, job)
        assert_never(job.kind)

    # Stopping. Other threads may call these four: they only set flags.

    def cancel(self, job_id: str) -> None:
        """Stop the job if it is the running one."""
        with self._lock:
            if job_id == self._current:
                self._context.stop.set()

    def catch_up_on_cancel(self) -> None:
        """Stop the running job if its cancel flag was raised while the channel was not heard."""
        job_id = self._current
        if job_id is not None and self._context.jobs.asked_to_stop(job_id):
            self.cancel(job_id)

    def finish(self) -> None:
        """Begin no other job: the worker ends after the running one."""
        self.queue.closing = True

    def interrupt(self) -> None:
        """End the running job as interrupted: the worker ends now."""
        self.queue.closing = True
        with self._lock:
            self._context.leaving.set()
            self._context.stop.set()

    @contextmanager
    def _stoppable(self, job_id: str) -> Iterator[None]:
        self._current = job_id  # set before the flag is read, so that a cancel in between is not missed
        try:
            yield
        finally:
            with self._lock:  # a late cancel must not stop the next job
                self._current = None
                if not self._context.leaving.is_set():
                    self._context.stop.clear()


def _end(error: redis.RedisError) -> NoReturn:
    log.error("The database is lost; the worker ends. %s", error)
    os._exit(os.EX_TEMPFAIL)
