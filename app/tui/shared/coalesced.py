"""Work that is requested often and runs once at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual.widget import Widget

from app.tui.shared.notice import failures
from core.errors import CharlieError

if TYPE_CHECKING:
    from redis.exceptions import RedisError


class Coalesced:
    """Runs `work` in a worker of `widget`. Requests that arrive while it runs are answered by one more run.

    `fail` is called with a failure of the client, which ends that run.
    """

    def __init__(
        self, widget: Widget, work: Callable[[], Awaitable[None]], fail: Callable[[CharlieError | RedisError], None]
    ) -> None:
        self._widget = widget
        self._work = work
        self._fail = fail
        self._running = False
        self.requested = False
        """Whether another run follows the present one, whose result is then out of date."""

    def request(self) -> None:
        self.requested = True
        if not self._running:
            self._running = True
            run: Callable[[], Awaitable[None]] = self._run
            self._widget.run_worker(run)

    async def _run(self) -> None:
        try:
            while self.requested:
                self.requested = False
                try:
                    await self._work()
                except failures() as error:
                    self._fail(error)
        finally:
            self._running = False
