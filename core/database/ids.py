"""Ids that increase in the order of the calls, even when the clock of the machine is set back."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

from core.database import RedisClient, keys

LATEST_USABLE = 2**52
"""A microsecond of the year 2112: later values are not times. Lua counts exactly up to twice this."""
_MICROSECOND = re.compile(r"[0-9a-f]{14}")
_TAKE = """
local now = math.max(tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
redis.call('SET', KEYS[1], string.format('%.0f', now + ARGV[2] - 1))
return string.format('%.0f', now)
"""


def next_id(redis: RedisClient, after: str = "") -> str:
    """An id that sorts after every id that this database has given, and after `after`."""
    return next_ids(redis, 1, after)[0]


def next_ids(redis: RedisClient, count: int, after: str = "") -> list[str]:
    """`count` ids in order, made of the time (microseconds), or of the latest id when the clock was set back."""
    return ids_from(take(redis, count, after), count)


def take(redis: Any, count: int, after: str = "") -> Any:
    """Take `count` microseconds for ids, and answer with the first; `redis` may be a pipeline."""
    found = _MICROSECOND.match(after)
    following = int(found[0], 16) + 1 if found else 0
    now = max(time.time_ns() // 1000, following if following < LATEST_USABLE else 0)
    return redis.eval(_TAKE, 1, keys.LATEST, now, count)


def ids_from(first: str, count: int) -> list[str]:
    """`count` ids in order, from the answer to `take`."""
    return [f"{int(first) + number:014x}{secrets.token_hex(4)}" for number in range(count)]
