"""Huey's consumer with our signals. Everything here that uses private parts of Huey was seen in Huey 3.5.4."""

from __future__ import annotations

import signal
from types import FrameType

from huey.consumer import Consumer

from tasks.queue.huey_queue import FINISH
from tasks.worker.runner import Runner

SHUTDOWN_SECONDS = 8.0


class SignalConsumer(Consumer):  # type: ignore[misc]  # huey has no types
    """Ends on SIGTERM, SIGINT and SIGHUP, which interrupt the running job, and on FINISH, which waits for it."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(
            runner.queue,
            workers=1,
            worker_type="thread",
            periodic=False,
            graceful_signal="TERM",
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        self._runner = runner
        # Private: Huey offers no own signals, and on SIGHUP it restarts itself and outlives the closed terminal.
        self._signal_actions |= {signal.SIGHUP: (False, True), FINISH: (False, True)}

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        """Private: Huey waits for the running task and has no callback in which to stop it."""
        if number == FINISH:
            self._runner.finish()
            self.shutdown_timeout = None
        else:
            self._runner.interrupt()
        super()._handle_signal(number, frame)

    def stop(self, graceful: bool = False) -> None:  # noqa: ARG002  # every signal ends it in order
        super().stop(graceful=True)
