"""Writes a job's text in batches. app/tui/shared/job_follower.py reads it, app/tui/chat/reply.py shows it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from tasks.jobs.records import Text, Thought
from tasks.jobs.store import Jobs

BATCH_SECONDS = 0.08
"""The longest delay of a piece of text. Each write to Redis takes time from decoding."""


class TextWriter:
    """Writes the first piece at once, later ones every BATCH_SECONDS, and a thought apart from the answer.

    Later pieces are written by a thread, so that decoding does not wait for the database. If one could not be written,
    the next call raises the error. Use it as a context manager, which writes the rest.
    """

    def __init__(self, jobs: Jobs, id_: str) -> None:
        self._jobs = jobs
        self._id = id_
        self._waiting: list[str] = []
        self._kind: type[Text | Thought] = Text
        self._sent = -math.inf
        self._thread = ThreadPoolExecutor(1, "text")
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
                self._wait()
        finally:
            self._thread.shutdown()

    def write(self, piece: str | Thought) -> None:
        kind, text = (Text, piece) if isinstance(piece, str) else (Thought, piece.text)
        if kind is not self._kind:
            self._flush()
            self._kind, self._sent = kind, -math.inf
        self._waiting.append(text)
        if time.monotonic() - self._sent >= BATCH_SECONDS:
            self._flush()

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Let the thread call a function, after what it was given before."""
        self._wait()
        self._running = self._thread.submit(function, *args)

    def _flush(self) -> None:
        if not self._waiting:
            return
        output = self._kind("".join(self._waiting))
        if self._running is None:
            self._jobs.write(self._id, output)  # the first one, which must not wait for a new thread
            self._running = Future()
            self._running.set_result(None)
        else:
            self.call(self._jobs.write, self._id, output)
        self._waiting.clear()
        self._sent = time.monotonic()

    def _wait(self) -> None:
        if self._running is not None:
            self._running.result()
