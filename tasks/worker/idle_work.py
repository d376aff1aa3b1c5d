"""Has entries described while the worker has nothing else to do."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import redis

from core.events.types import JobKind, Phase
from core.roles import Role
from tasks.queue.huey_queue import enqueue

if TYPE_CHECKING:
    from tasks.handlers.context import TaskContext
    from tasks.jobs.records import Ended, Job
    from tasks.queue.huey_queue import Queue

log = logging.getLogger(__name__)

REST_SECONDS = 2.0
"""Entries are described only when no model was used for this long: a person may go on at once."""


class IdleWork:
    """Queues a DESCRIBE job when no other job waits and no other model would be unloaded for it."""

    def __init__(self, context: TaskContext, queue: Queue) -> None:
        self._context = context
        self._queue = queue
        self._enabled = False
        """A person has used a model since the last description that found no entry."""

    def queue_description(self, busy: bool) -> None:
        """Queue a description if one is due. Any thread may call it."""
        manager = self._context.manager
        at = manager.announcer.snapshot
        free = at.phase is Phase.EMPTY or (at.phase, at.role) == (Phase.WARM, Role.INSTRUCT)
        rested = time.monotonic() - manager.last_used >= REST_SECONDS
        if busy or not (self._enabled and free and rested):
            return
        try:
            if self._queue.waiting_or_closing() or not self._context.journal.has_undescribed():
                return
            self._enabled = False
            self._submit()
        except redis.RedisError as error:
            log.warning("Entries are not described now. %s", error)

    def pause(self) -> None:
        """Describe nothing until a person uses a model again."""
        self._enabled = False

    def note_end(self, job: Job, ended: Ended) -> None:
        match job.kind:
            case JobKind.PLAN | JobKind.UNLOAD:
                pass
            case JobKind.DESCRIBE:
                self._enabled = bool((ended.result or {}).get("entries"))
            case _:
                self._enabled = True

    def _submit(self) -> None:
        jobs = self._context.jobs
        job = jobs.new(JobKind.DESCRIBE, {})
        with jobs.redis.pipeline(transaction=True) as pipe:
            jobs.add(pipe, job)
            enqueue(self._queue, job.kind, job.id, pipe)
            pipe.execute()
