"""Reads a job's output on a thread of its own and hands it to a widget."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message
from textual.message_pump import MessagePump

from app.tui.shared.notice import failures
from core.errors import CharlieError
from core.events.types import JobState
from tasks.jobs.records import Ended, Output, Text, Thought

if TYPE_CHECKING:
    from app.client import Client

TIME_SHARE = 0.05
"""The share of its time that the interface may use to draw streamed text; the model has the rest."""
PAUSES = (0.1, 0.3)
"""Seconds between two pieces of text, at least and at most."""


class JobFollower:
    """Follows one job to its end. At most one `Came` message is under way at a time.

    The thread is not one of asyncio's few: a job may wait for minutes, and the calls that cancel it need those.
    """

    @dataclass
    class Came(Message):
        """There is output to `take`."""

        follower: JobFollower

    def __init__(self, client: Client, job_id: str, target: MessagePump) -> None:
        self.job_id = job_id
        self._client = client
        self._target = target
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._outputs: list[Output] = []
        self._announced = False
        self._announced_at = 0.0
        self._pause = PAUSES[0]
        self._used = time.thread_time()
        self._thread = threading.Thread(target=self._read, name=f"follow {job_id}", daemon=True)
        self._thread.start()

    def take(self) -> list[Output]:
        """The outputs since the last call, in order. Called by the thread that draws them."""
        used = time.thread_time()
        with self._lock:
            outputs, self._outputs = self._outputs, []
            self._announced = False
            self._pause = min(max((used - self._used) / TIME_SHARE, PAUSES[0]), PAUSES[1])
            self._used = used
        return outputs

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Stop reading. The job itself goes on."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the thread to end; it checks for `stop` five times a second."""
        self._thread.join()

    def _read(self) -> None:
        try:
            for output in self._client.follow(self.job_id, self._stop.is_set):
                self._hand_over(output)
        except CharlieError as error:
            self._hand_over(Ended(JobState.FAILED, None, error.message, error.hint))
        except failures():
            self._hand_over(Ended(JobState.INTERRUPTED, None, "The database does not answer."))

    def _hand_over(self, output: Output | None) -> None:
        """Announce the first output and the end at once, and text in between at the pace at which it can be drawn."""
        now = time.monotonic()
        with self._lock:
            if output is not None:
                self._outputs.append(output)
            held_back = isinstance(output, Text | Thought) and now - self._announced_at < self._pause
            if self._announced or held_back or not self._outputs:
                return
            self._announced, self._announced_at = True, now
        if not self.stopped:
            self._target.post_message(self.Came(self))
