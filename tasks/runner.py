"""Runs one job after the other: marks it, does it, says how it ended, and sees to idle eviction."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, assert_never

import redis

from core.database import await_writable, explain, refuses_writes
from core.errors import CancelledError, CharlieError, NotFoundError
from core.events import QueueChanged
from core.library import EntryState, MessageState, StoredMessage
from core.settings import Role
from states.room import read_memory
from tasks import chat, describe, journal, models
from tasks.jobs import TAKEN, UNENDED, Ended, Job, JobKind, JobState
from tasks.queue import Queue, enqueue, job_ids, make_queue, put_back, put_in_place, schedule_eviction
from tasks.reflect import reflect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.events import Memory, PhaseName
    from tasks.tools import Tools

log = logging.getLogger(__name__)

DEADLY = 3
"""A job that was running when the worker died this often is set aside: it is not run again by itself."""
SET_ASIDE = "Set aside: the worker ended three times while it worked on this."
SPLIT = "The worker ended while it worked on this; what was left of it is done entry by entry."
SET_ASIDE_HINT = "`charlie retry {0}` tries it again, `charlie drop {0}` leaves it; or r and x in the journal."
SLACK_SECONDS = 0.5
"""Huey looks at its schedule once a second; an eviction that comes this early counts as due."""
REST_SECONDS = 2.0
"""Nobody must have used a model for this long before entries are described: a person may go on at once."""
CLOCK_SECONDS = 5.0
"""By more than this the machine's clock was set, and an eviction is scheduled anew."""


class Runner:
    """The worker's end of the queue. `run` and `evict` are called by Huey's one thread."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._current: str | None = None
        self._describes = False
        """Whether entries may be described: a person has used a model since that last came to nothing."""
        self._lock = threading.RLock()  # a signal's handler may take it while the same thread holds it
        self.queue: Queue = make_queue(tools.raw.connection_pool, self.run, self.evict)

    @property
    def phase(self) -> PhaseName:
        return self._tools.manager.snapshot.phase

    @property
    def busy(self) -> bool:
        """Whether a job runs, or a model is on its way in or out."""
        return self._current is not None or self.phase in ("loading", "unloading")

    def run(self, job_id: str) -> None:
        """Do a job that is still wanted.

        A lost database ends the process; what was taken is recovered at the next start. A full disk is waited for.
        """
        try:
            self._run(job_id)
        except redis.RedisError as error:
            if not refuses_writes(error):
                _end(error)
            log.warning("The database cannot write; waiting until it can. %s", error)
            await_writable(self._tools.raw, self._tools.leaving)
            told = explain(error)
            self._tools.jobs.end(job_id, Ended(JobState.FAILED, error=told.message, hint=told.hint), UNENDED)

    def _run(self, job_id: str) -> None:
        tools = self._tools
        with self._stoppable(job_id):
            job = self._take(job_id)
            if job is None:
                return
            began = time.monotonic()
            ended = self._attempt(job)
        if ended.state is JobState.INTERRUPTED and job.kind is JobKind.INGEST:
            tools.jobs.advance(job.id, JobState.QUEUED, TAKEN)  # it can be run again, so it is not lost
            put_back(self.queue, job.kind, job.id)
            return
        tools.jobs.end(job.id, ended)
        log.info("%s %s is %s %s", job.kind, job.id, ended.state, ended.error)
        if ended.state is JobState.DONE:
            tools.jobs.measure(job.kind, time.monotonic() - began)
        self._note_use(job, ended)
        tools.bus.publish(QueueChanged(self.queue.storage.queue_size(), None))
        self._plan_eviction()

    def _take(self, job_id: str) -> Job | None:
        """Mark a job as taken; None when it is not wanted any more."""
        jobs, bus = self._tools.jobs, self._tools.bus
        job, asked_to_stop = jobs.look_up(job_id)
        if job is None:
            return None
        if asked_to_stop:
            self._tools.stop.set()
        changed = QueueChanged(self.queue.storage.queue_size(), job_id)
        state = JobState.RUNNING if self._begins_at_once(job) else JobState.WAITING
        return jobs.advance(
            job_id, state, {JobState.QUEUED}, job, lambda pipe: bus.add(pipe, changed), started=time.time()
        )

    def _begins_at_once(self, job: Job) -> bool:
        """Whether a message's answer has no model to wait for, so that it needs not be said that it has one now."""
        try:
            return job.kind is JobKind.CHAT and self._tools.manager.is_warm(Role.INSTRUCT)
        except CharlieError:  # about the model's file; the attempt will say so
            return False

    def _attempt(self, job: Job) -> Ended:
        try:
            return Ended(JobState.DONE, self._do(job))
        except CancelledError:
            return Ended(JobState.INTERRUPTED if self._tools.leaving.is_set() else JobState.CANCELLED)
        except CharlieError as error:
            return Ended(JobState.FAILED, error=error.message, hint=error.hint)
        except redis.RedisError:
            raise
        except Exception as error:
            log.exception("The job %s (%s) failed.", job.id, job.kind)
            return Ended(
                JobState.FAILED,
                error=f"Something unexpected went wrong ({type(error).__name__}: {error}).",
                hint="The Log screen has the details.",
            )

    def _do(self, job: Job) -> dict[str, Any]:
        match job.kind:
            case JobKind.CHAT:
                return chat.chat_response(self._tools, job)
            case JobKind.INGEST:
                return journal.ingest_entries(self._tools, job)
            case JobKind.SEARCH:
                return journal.search_journal(self._tools, job)
            case JobKind.ASK:
                return journal.ask_journal(self._tools, job)
            case JobKind.REFLECT:
                return reflect(self._tools, job)
            case JobKind.DESCRIBE:
                return describe.describe_entries(self._tools, job, self._somebody_waits)
            case JobKind.WARM:
                return models.warm(self._tools, job)
            case JobKind.UNLOAD:
                return models.unload(self._tools, job)
            case JobKind.PLAN:
                return models.plan(self._tools, job)
        assert_never(job.kind)

    # Mood and title of entries, while there is nothing else to do.

    def describe_at_rest(self) -> None:
        """Queue a job that describes entries when nobody waits and it unloads nothing. Any thread may call it."""
        manager = self._tools.manager
        at = manager.snapshot
        free = at.phase == "empty" or (at.phase, at.role) == ("warm", Role.INSTRUCT)
        rested = time.monotonic() - manager.last_used >= REST_SECONDS
        if not (self._describes and free and rested) or self.busy:
            return
        try:
            if self._somebody_waits() or not self._tools.library.has_undescribed():
                return
            self._describes = False
            self._submit(JobKind.DESCRIBE)
        except redis.RedisError as error:
            log.warning("Entries are not described now. %s", error)

    def _note_use(self, job: Job, ended: Ended) -> None:
        match job.kind:
            case JobKind.PLAN:
                pass
            case JobKind.UNLOAD:  # whoever wants the memory back does not want it filled again
                self._describes = False
            case JobKind.DESCRIBE:
                self._describes = bool((ended.result or {}).get("entries"))
            case _:
                self._describes = True

    def _submit(self, kind: JobKind) -> None:
        tools = self._tools
        job = tools.jobs.new(kind, {})
        with tools.jobs.redis.pipeline(transaction=True) as pipe:
            tools.jobs.add(pipe, job)
            enqueue(self.queue, kind, job.id, pipe)
            pipe.execute()

    def _somebody_waits(self) -> bool:
        """For the worker to do something else, or to end."""
        return self.queue.closing or self.queue.storage.queue_size() > 0

    # Stopping a job. These four may be called from other threads: they only set flags.

    def cancel(self, job_id: str) -> None:
        """Stop the job if it is the one that runs."""
        with self._lock:
            if job_id == self._current:
                self._tools.stop.set()

    def look(self) -> None:
        """Stop the job that runs if that was asked for while nobody listened."""
        job_id = self._current
        if job_id is not None and self._tools.jobs.asked_to_stop(job_id):
            self.cancel(job_id)

    def finish(self) -> None:
        """Begin no other job, because the worker is to end after this one."""
        self.queue.closing = True

    def leave(self) -> None:
        """Have the running job end as interrupted, because the worker is to end."""
        self.queue.closing = True
        with self._lock:
            self._tools.leaving.set()
            self._tools.stop.set()

    @contextmanager
    def _stoppable(self, job_id: str) -> Iterator[None]:
        self._current = job_id  # before its flag is read: a stop that comes in between is not missed
        try:
            yield
        finally:
            with self._lock:  # a stop that comes late must not stop the next job
                self._current = None
                if not self._tools.leaving.is_set():
                    self._tools.stop.clear()

    # Idle eviction.

    def evict(self) -> None:
        """Unload what nobody has used for `keep_alive` seconds, or whose memory others need.

        What was used since is looked at again later.
        """
        try:
            manager = self._tools.manager
            keep_alive = manager.standing.keep_alive
            idle = time.monotonic() - manager.last_used
            if keep_alive >= 0 and idle >= keep_alive - SLACK_SECONDS:
                manager.unload_model(f"idle for {idle:.0f} s")
            elif reason := manager.short_of_memory(read_memory()):
                self._describes = False
                manager.unload_model(reason)
            else:
                self._plan_eviction()
        except redis.RedisError as error:
            if not refuses_writes(error):
                _end(error)
            log.warning("The model stays warm while the database cannot write. %s", error)

    def relieve(self, now: Memory) -> None:
        """Have `evict` take its turn in the queue when memory runs short, or the clock was set.

        Any thread may call it.
        """
        try:
            if self._clock_was_set() or self._tools.manager.short_of_memory(now):
                schedule_eviction(self.queue, datetime.now(UTC).replace(tzinfo=None))
        except (CharlieError, redis.RedisError) as error:
            log.warning("Memory is short, and an eviction could not be scheduled. %s", error)

    def _plan_eviction(self) -> None:
        manager = self._tools.manager
        keep_alive = manager.standing.keep_alive
        if keep_alive < 0:
            manager.set_keep_alive(None)
            return
        if self._rest() <= 0 and self.queue.storage.queue_size() == 0:
            manager.unload_model("keep_alive is 0")
            return
        due = datetime.now(UTC) + timedelta(seconds=self._rest())
        manager.set_keep_alive(due.timestamp())
        schedule_eviction(self.queue, due.replace(tzinfo=None))

    def _rest(self) -> float:
        """Seconds for which the model is kept yet, by a clock that nobody sets."""
        manager = self._tools.manager
        return max(0.0, manager.standing.keep_alive - (time.monotonic() - manager.last_used))

    def _clock_was_set(self) -> bool:
        """Whether the eviction that is scheduled would come at another time than it should."""
        until = self._tools.manager.snapshot.keep_alive_until
        return until is not None and not self.busy and abs(until - time.time() - self._rest()) > CLOCK_SECONDS

    # What a worker that died left behind.

    def recover(self) -> None:
        """Before serving: an ingestion that was cut off is run again, anything else is marked as interrupted."""
        storage = self.queue.storage
        for message in storage.unacknowledged():
            ids = job_ids(self.queue, [message])
            job = self._tools.jobs.find(ids[0]) if ids else None
            if job is None or job.state.ended:
                storage.acknowledge(message)
            elif job.state is JobState.QUEUED:  # taken, but not begun
                storage.put_back(message)
            elif self._splits(job):
                self._split(job, message)
            elif job.kind is JobKind.INGEST and job.attempts + 1 < DEADLY:
                self._tools.jobs.advance(job.id, JobState.QUEUED, TAKEN, attempts=job.attempts + 1)
                storage.put_back(message)
            elif job.kind is JobKind.INGEST:
                self._set_aside(job)
                storage.acknowledge(message)
            else:
                self._interrupt(job)
                storage.acknowledge(message)

    def _splits(self, job: Job) -> bool:
        """One that is to be stopped is run again as it is, which ends it at once."""
        several = job.kind is JobKind.INGEST and len(journal.entry_ids(job)) > 1
        return several and not self._tools.jobs.asked_to_stop(job.id)

    def _split(self, job: Job, message: bytes) -> None:
        """Have what is left of an ingestion of several entries done one by one, so that a deadly one is found."""
        tools = self._tools
        parts = [
            replace(job, id=f"{job.id}-{number:06}", args={"entries": [id_]}, subject=id_, state=JobState.QUEUED,
                    attempts=job.attempts + 1)
            for number, id_ in enumerate(journal.unread(tools, job))
        ]  # fmt: skip
        ended = Ended(JobState.INTERRUPTED, error=SPLIT)
        ids = [part.id for part in parts]
        tools.jobs.split(job, parts, ended, lambda pipe: put_in_place(self.queue, job.kind, ids, message, pipe))

    def _interrupt(self, job: Job) -> None:
        tools = self._tools
        text = tools.jobs.written(job.id)
        if job.kind is JobKind.CHAT and text and not job.args.get("replaces"):  # half a reply replaces none
            message = StoredMessage(job.id, "assistant", text, state=MessageState.INTERRUPTED)
            with suppress(NotFoundError):  # the conversation may be gone by now
                tools.library.put_message(job.subject, message)
        error = "The worker ended while it worked on this."
        tools.jobs.end(job.id, Ended(JobState.INTERRUPTED, error=error, hint="Ask for it again."))

    def _set_aside(self, job: Job) -> None:
        tools = self._tools
        ended = Ended(JobState.INTERRUPTED, error=SET_ASIDE, hint=SET_ASIDE_HINT.format(job.id))
        try:
            entry = tools.library.entry(job.subject)
        except NotFoundError:  # nothing is left to decide on
            tools.jobs.end(job.id, ended)
            return
        tools.library.mark_entry(entry.id, entry.revision, EntryState.FAILED, SET_ASIDE)
        tools.jobs.set_aside(job.id, ended)


def _end(error: redis.RedisError) -> NoReturn:
    log.error("The database is lost; the worker ends. %s", error)
    os._exit(os.EX_TEMPFAIL)
