"""Unloads a model that nobody uses, or whose memory other programs need."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

import redis

from core.errors import CharlieError
from core.events.types import WarmRole
from core.memory.readings import read_memory
from core.memory.types import Memory
from core.roles import Role
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
        """Unload each model that was idle for its `keep_alive`, and one while memory is short; plan the next look."""
        self._unload_idle(SLACK_SECONDS)
        if reason := self._manager.short_of_memory(read_memory()):
            self._idle_work.pause()
            self._manager.give_up(reason)
        self.plan()

    def plan(self) -> None:
        """Unload what is idle, and schedule the eviction for the earliest end of a `keep_alive`."""
        self._unload_idle()
        left = {role: self._seconds_left(role) for role in self._manager.loaded_roles}
        now = datetime.now(UTC)
        self._manager.announcer.set_kept(
            {role: None if seconds is None else now.timestamp() + seconds for role, seconds in left.items()}
        )
        if ends := [seconds for seconds in left.values() if seconds is not None]:
            schedule_eviction(self._queue, (now + timedelta(seconds=min(ends))).replace(tzinfo=None))

    def hasten(self, now: Memory, busy: bool) -> None:
        """Have `evict` take its turn soon when memory is short or the schedule is wrong. Any thread may call it."""
        try:
            if (not busy and self._is_outdated()) or self._manager.short_of_memory(now):
                schedule_eviction(self._queue, datetime.now(UTC).replace(tzinfo=None))
        except (CharlieError, redis.RedisError) as error:
            log.warning("Memory is short, and an eviction could not be scheduled. %s", error)

    def _unload_idle(self, slack: float = 0.0) -> None:
        """Unload each model whose `keep_alive` ends within `slack` seconds, unless the next job needs it."""
        for role in self._manager.loaded_roles:
            left = self._seconds_left(role)
            if left is not None and left <= slack and role not in self._manager.next_roles():
                idle = f"idle for {self._manager.idle_seconds(role):.0f} s"
                self._manager.unload_role(role, idle if self._keep_alive(role) else "keep_alive is 0")

    def _keep_alive(self, role: Role) -> float:
        settings = self._manager.last_good_settings
        own = settings.role(role).keep_alive
        return settings.keep_alive if own is None else own

    def _seconds_left(self, role: Role) -> float | None:
        """The rest of a role's `keep_alive`, by a clock that nobody sets; None when it is kept."""
        keep_alive = self._keep_alive(role)
        if keep_alive < 0 or self._manager.last_good_settings.role(role).pinned:
            return None
        return max(0.0, keep_alive - self._manager.idle_seconds(role))

    def _is_outdated(self) -> bool:
        """Whether the clock was set, or a model was pinned or got another `keep_alive`, since the last `plan`."""
        return any(self._is_wrong(each) for each in self._manager.announcer.snapshot.warm)

    def _is_wrong(self, warm: WarmRole) -> bool:
        role = Role(warm.role)
        left, until = self._seconds_left(role), warm.kept_until
        if left is None or until is None:
            return left is not until or warm.pinned != self._manager.last_good_settings.role(role).pinned
        return abs(until - time.time() - left) > CLOCK_SECONDS
