"""Ids in the order in which they were asked for, whatever is done to the machine's clock meanwhile."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.database import RedisClient

LATEST = "charlie:latest"
"""The microsecond of the latest id."""
LATEST_USABLE = 2**52
"""A microsecond of the year 2112; the database counts exactly up to twice this, and a later one is no time of ours."""
_MICROSECOND = re.compile(r"[0-9a-f]{14}")
_TAKE = """
local now = math.max(tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
redis.call('SET', KEYS[1], string.format('%.0f', now + ARGV[2] - 1))
return string.format('%.0f', now)
"""


def next_id(redis: RedisClient, after: str = "") -> str:
    """An id that sorts behind all that this database has given so far, and behind `after`."""
    return next_ids(redis, 1, after)[0]


def next_ids(redis: RedisClient, count: int, after: str = "") -> list[str]:
    """So many ids in order, each made of the time (microseconds), or of the latest where the clock was set back."""
    found = _MICROSECOND.match(after)
    behind = int(found[0], 16) + 1 if found else 0
    now = max(time.time_ns() // 1000, behind if behind < LATEST_USABLE else 0)
    first = int(redis.eval(_TAKE, 1, LATEST, now, count))
    return [f"{first + number:014x}{secrets.token_hex(4)}" for number in range(count)]
