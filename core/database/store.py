"""What reads and writes records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from core.database import RedisClient

Result = TypeVar("Result")


class Store:
    """A write returns once the database has appended it to its file and `sync` has brought that file to the disk.

    `redis` must decode responses.
    """

    def __init__(self, redis: RedisClient, sync: Callable[[], None] = lambda: None) -> None:
        self.redis = redis
        self._sync = sync

    def _commit(self, change: Callable[[Any], Result], *watched: str) -> Result:
        """Make a change in a transaction, again when another process writes what is watched meanwhile, and sync it."""
        done: Result = self.redis.transaction(change, *watched, value_from_callable=True)
        self._sync()
        return done
