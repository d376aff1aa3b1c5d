"""The embedded database."""

from __future__ import annotations

from typing import Any, TypeAlias

RedisClient: TypeAlias = Any
"""A `redis.Redis`. Its own types make each answer a union of str and bytes, whether or not the client decodes."""
