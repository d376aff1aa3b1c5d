"""The version of the stored data: older data are migrated once, newer data are only read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from core.database import keys
from core.database.connection import RedisClient

SCHEMA: Final = 3
"""Version 1 had no trash, no revisions and no zones; its records are read as they are. Version 2 had starter models."""
STARTER: Final = ":starter-embedding.gguf:"
"""In the keys of vectors that nothing reads any more; idle work indexes their entries again."""


def stored_version(redis: RedisClient) -> int:
    """The version that the data follow; 0 where there are none."""
    if found := redis.get(keys.SCHEMA):
        return int(found)
    return 1 if redis.exists(keys.ENTRIES, keys.CONVERSATIONS) else 0


def is_newer(redis: RedisClient) -> bool:
    return stored_version(redis) > SCHEMA


def migrate(redis: RedisClient, copy: Callable[[], object]) -> None:
    """Bring the data to this version in one MULTI, after `copy`. Newer data stay as they are.

    Deletions of version 1 left their texts in the database file, and old vectors take room, so it is rewritten too.
    """
    version = stored_version(redis)
    if version >= SCHEMA:
        return
    if version:
        copy()
    starters = [key for key in redis.smembers(keys.INDEXES) if STARTER in key]
    with redis.pipeline(transaction=True) as pipe:
        pipe.set(keys.SCHEMA, SCHEMA)
        if starters:
            pipe.delete(*starters)
            pipe.srem(keys.INDEXES, *starters)
        if version:
            pipe.incr(keys.UNREMOVED)
        pipe.execute()


def forbid_writes(redis: RedisClient) -> None:
    """Have the server refuse every write of every process."""
    redis.execute_command("ACL", "SETUSER", "default", "-@write")
