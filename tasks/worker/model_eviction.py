"""Unloads a model that nobody uses, or whose memory other programs need."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

import redis

from core.errors import CharlieError
from core.memory.readings import read_memory
from core.memory.types import Memory
from tasks.handlers.context import TaskContext
from tasks.queue.huey_queue import Queue, schedule_eviction
from tasks.worker.idle_work import IdleWork

log = logging.getLogger(__name__)

SLACK_SECONDS = 0.5
"""Huey reads its schedule once a second; an eviction that comes this early counts as due."""
CLOCK_SECONDS = 5.0
"""A difference above this means that the machine's clock was set; the eviction is then scheduled again."""


class Eviction:
    """Evicts by a message in the queue, so that it takes its turn between two jobs."""

    def __init__(self, context: TaskContext, queue: Queue, idle_work: IdleWork) -> None:
        self._manager = context.manager
        self._queue = queue
        self._idle_work = idle_work

    def evict(self) -> None:
        """Unload a model that was idle for `keep_alive` seconds, or while memory is short; else plan the next look."""
        keep_alive = self._manager.last_good_settings.keep_alive
        idle = time.monotonic() - self._manager.last_used
        if keep_alive >= 0 and idle >= keep_alive - SLACK_SECONDS:
            self._manager.unload_all(f"idle for {idle:.0f} s")
        elif reason := self._manager.short_of_memory(read_memory()):
            self._idle_work.pause()
            self._manager.give_up(reason)
        else:
            self.plan()

    def plan(self) -> None:
        """Schedule the eviction for the end of `keep_alive`, or unload at once where that is 0 and no job waits."""
        if self._manager.last_good_settings.keep_alive < 0:
            self._manager.announcer.set_kept({})
            return
        if self._seconds_left() <= 0 and self._queue.storage.queue_size() == 0:
            self._manager.unload_all("keep_alive is 0")
            return
        due = datetime.now(UTC) + timedelta(seconds=self._seconds_left())
        self._manager.announcer.set_kept(dict.fromkeys(self._manager.loaded_roles, due.timestamp()))
        schedule_eviction(self._queue, due.replace(tzinfo=None))

    def hasten(self, now: Memory, busy: bool) -> None:
        """Have `evict` take its turn soon when memory is short or the clock was set. Any thread may call it."""
        try:
            if self._clock_was_set(busy) or self._manager.short_of_memory(now):
                schedule_eviction(self._queue, datetime.now(UTC).replace(tzinfo=None))
        except (CharlieError, redis.RedisError) as error:
            log.warning("Memory is short, and an eviction could not be scheduled. %s", error)

    def _seconds_left(self) -> float:
        """The rest of `keep_alive`, by a clock that nobody sets."""
        manager = self._manager
        return max(0.0, manager.last_good_settings.keep_alive - (time.monotonic() - manager.last_used))

    def _clock_was_set(self, busy: bool) -> bool:
        """Whether the scheduled eviction would come at the wrong time."""
        until = next((each.kept_until for each in self._manager.announcer.snapshot.warm), None)
        return until is not None and not busy and abs(until - time.time() - self._seconds_left()) > CLOCK_SECONDS
