"""Writes a job's text in batches. app/tui/shared/job_follower.py reads it, app/tui/chat/reply.py shows it."""

from __future__ import annotations

import time

from tasks.jobs.records import Text, Thought
from tasks.jobs.store import Jobs

BATCH_SECONDS = 0.08
"""The longest delay of a piece of text. Each write to Redis takes time from decoding."""


class TextWriter:
    """Writes the first piece at once, later ones every BATCH_SECONDS, and a thought apart from the answer."""

    def __init__(self, jobs: Jobs, id_: str) -> None:
        self._jobs = jobs
        self._id = id_
        self._waiting: list[str] = []
        self._kind: type[Text | Thought] = Text
        self._sent = 0.0

    def write(self, piece: str | Thought) -> None:
        kind, text = (Text, piece) if isinstance(piece, str) else (Thought, piece.text)
        if kind is not self._kind:
            self.flush()
            self._kind, self._sent = kind, 0.0
        self._waiting.append(text)
        if time.monotonic() - self._sent >= BATCH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._jobs.write(self._id, self._kind("".join(self._waiting)))
            self._waiting.clear()
            self._sent = time.monotonic()
