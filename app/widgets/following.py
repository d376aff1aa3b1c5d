"""Reads a job's output on a thread of its own and hands it to a widget."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from textual.message import Message

from core.errors import CharlieError
from tasks.jobs import Ended, JobState, Output

if TYPE_CHECKING:
    from textual.message_pump import MessagePump

    from app.client import Client


class Following:
    """One job that is followed to its end. Post-office of one: at most one `Came` is under way at a time.

    A thread of its own, not one of asyncio's few: a job may wait for minutes, and the calls that cancel it need those.
    """

    @dataclass
    class Came(Message):
        """There is output to `take`."""

        following: Following

    def __init__(self, client: Client, job_id: str, target: MessagePump) -> None:
        self.job_id = job_id
        self._client = client
        self._target = target
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._outputs: list[Output] = []
        self._announced = False
        self._thread = threading.Thread(target=self._read, name=f"follow {job_id}", daemon=True)
        self._thread.start()

    def take(self) -> list[Output]:
        """What has come since the last time, in order."""
        with self._lock:
            outputs, self._outputs = self._outputs, []
            self._announced = False
        return outputs

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Read no further. The job itself goes on."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the thread; it looks at `stop` five times a second."""
        self._thread.join()

    def _read(self) -> None:
        try:
            for output in self._client.follow(self.job_id, self._stop.is_set):
                if output is not None:
                    self._hand_over(output)
        except CharlieError as error:
            self._hand_over(Ended(JobState.FAILED, None, error.message, error.hint))
        except RedisError:
            self._hand_over(Ended(JobState.INTERRUPTED, None, "The database does not answer."))

    def _hand_over(self, output: Output) -> None:
        with self._lock:
            self._outputs.append(output)
            announced, self._announced = self._announced, True
        if not announced and not self.stopped:
            self._target.post_message(self.Came(self))
