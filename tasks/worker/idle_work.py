"""Has feelings read, entries indexed again, and described, while the worker has nothing else to do."""

from __future__ import annotations

import logging
import time
from typing import Any

import redis

from core.database import keys
from core.errors import CharlieError
from core.events.types import JobKind, JobState
from core.model_files.spec import ModelSpec
from core.roles import Role
from tasks.handlers.context import TaskContext
from tasks.handlers.feel import SOON
from tasks.handlers.ingest import without_vectors
from tasks.handlers.programs import follows_programs
from tasks.jobs.records import Ended, Job
from tasks.queue.huey_queue import Queue, enqueue

log = logging.getLogger(__name__)

REST_SECONDS = 2.0
"""Idle work begins only when no model was used for this long: a person may go on at once."""
ENTRIES_PER_JOB = 1_000
"""Entries that one job indexes again; if the worker ends in it, each of them gets a job of its own."""


class IdleWork:
    """Queues a job when no other job waits and no other model would be unloaded for it."""

    def __init__(self, context: TaskContext, queue: Queue) -> None:
        self._context = context
        self._queue = queue
        self._may_index = True
        """No such job has failed, and no model was unloaded by hand, since a person has used a model."""
        self._may_read = True
        """No reading of feelings has failed, and no model was unloaded by hand, since a person has used a model."""
        self._may_describe = False
        """A person has used a model since the last description that found no entry."""
        self._indexed_with: ModelSpec | None = None
        """The embedding model of which every indexed entry has vectors."""

    def queue_next(self, busy: bool) -> None:
        """Queue entries that must be indexed again, else a description, if one is due. Any thread may call it."""
        if busy or time.monotonic() - self._context.manager.last_used < REST_SECONDS:
            return
        try:
            if self._queue.waiting_or_closing():
                return
            unread = self._context.journal.redis.hvals(keys.UNREAD) if self._may_read else []
            if SOON in unread or (unread and Role.EMBEDDING in self._context.manager.loaded_roles):
                self._may_read = False
                self.submit(JobKind.FEEL, {})
            elif self._may_index and (ids := self._to_index()):
                self._may_index = False
                left = len(ids[ENTRIES_PER_JOB:])
                self.submit(JobKind.INGEST, {"entries": ids[:ENTRIES_PER_JOB], "left": left})
            elif self._may_describe and self._can_describe():
                self._may_describe = False
                self.submit(JobKind.DESCRIBE, {})
        except CharlieError as error:
            self.pause()
            log.warning("Nothing is done in idle time before a model is used again. %s", error)
        except redis.RedisError as error:
            log.warning("Nothing is done in idle time now. %s", error)

    def _can_describe(self) -> bool:
        manager, journal = self._context.manager, self._context.journal
        wanted = journal.has_undescribed() and follows_programs(manager.wanted(Role.INSTRUCT))
        return wanted and manager.can_warm_without_unloading(Role.INSTRUCT)

    def _to_index(self) -> list[str]:
        """Entries without vectors of the embedding model, looked for again only when that has changed."""
        manager = self._context.manager
        spec = manager.wanted(Role.EMBEDDING)
        if spec is self._indexed_with or not manager.can_warm_without_unloading(Role.EMBEDDING):
            return []
        ids = without_vectors(self._context, spec)
        self._indexed_with = None if ids else spec
        return ids

    def pause(self) -> None:
        """Do nothing until a person uses a model again."""
        self._may_index = self._may_describe = self._may_read = False

    def note_end(self, job: Job, ended: Ended) -> None:
        match job.kind:
            case JobKind.PLAN | JobKind.UNLOAD:
                pass
            case JobKind.WARM if "preload" in job.args:
                pass
            case JobKind.FEEL:
                result = ended.result or {}
                self._may_read = bool(result.get("read"))
                if result.get("swapped"):  # the person goes on with the model that was warm
                    self.submit(JobKind.WARM, {"role": Role.INSTRUCT.value}, Role.INSTRUCT.value)
            case JobKind.DESCRIBE:
                self._may_describe = bool((ended.result or {}).get("entries"))
            case JobKind.INGEST if "left" in job.args:
                self._may_index = ended.state is JobState.DONE
            case _:
                self._may_index = self._may_describe = self._may_read = True

    def submit(self, kind: JobKind, args: dict[str, Any], subject: str = "") -> None:
        """Queue a job of the worker's own."""
        jobs = self._context.jobs
        job = jobs.new(kind, args, subject)
        with jobs.redis.pipeline(transaction=True) as pipe:
            jobs.add(pipe, job)
            enqueue(self._queue, job.kind, job.id, pipe)
            pipe.execute()
