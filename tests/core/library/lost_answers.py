"""A connection that is lost after a transaction: the server has executed it, and the caller cannot know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from app.client import Client
from core.database.connection import _CurrentSocket


@contextmanager
def answer_lost(client: Client) -> Iterator[None]:
    """The answer to the client's first transaction in the block is lost; fails when there is none."""
    lost = False

    class Losing(_CurrentSocket):
        executing = False

        def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            self.executing = b"EXEC" in b"".join([command] if isinstance(command, bytes) else command)
            super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

        def read_response(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal lost
            answer = super().read_response(*args, **kwargs)
            if self.executing and isinstance(answer, list) and not lost:
                lost = True
                raise redis.ConnectionError("the answer was lost")
            return answer

    pool = client.redis.connection_pool
    usual = pool.connection_class
    pool.disconnect()
    pool.reset()
    pool.connection_class = Losing
    try:
        yield
    finally:
        pool.connection_class = usual
        pool.disconnect()
        pool.reset()
    assert lost, "no transaction was executed"
