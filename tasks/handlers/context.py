"""The objects that every task handler works with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from core.database.connection import RedisClient
from core.errors import CharlieError
from core.events.bus import Bus
from core.events.types import JobState
from core.library.conversations import Conversations
from core.library.journal import Journal
from core.library.vectors import VectorStore
from core.library.word_index import WordIndex
from core.paths import Paths, find_paths
from core.programs.feelings import Feelings
from core.roles import Role
from core.settings import Sampling, Thinking
from states.manager import ModelManager
from tasks.jobs.records import Job
from tasks.jobs.store import Jobs

POLL_SECONDS = 0.05
"""Time between two looks at the queue."""


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a handler works with. `raw` is a Redis client that does not decode.

    `stop` is set to end the running job, `leaving` too when the reason is the end of the worker.
    """

    manager: ModelManager
    bus: Bus
    jobs: Jobs
    conversations: Conversations
    journal: Journal
    raw: RedisClient
    stores: dict[str, VectorStore] = field(default_factory=dict)
    feelings: dict[str, Feelings] = field(default_factory=dict)
    words: WordIndex = field(default_factory=WordIndex)
    paths: Paths = field(default_factory=find_paths)
    stop: threading.Event = field(default_factory=threading.Event)
    leaving: threading.Event = field(default_factory=threading.Event)

    def begin(self, job: Job) -> None:
        """Mark a job as running: its model is warm."""
        if job.state is not JobState.RUNNING:
            self.jobs.advance(job.id, JobState.RUNNING, {JobState.WAITING})

    def thinking(self, job: Job) -> Thinking:
        """The job's own, else that of the settings."""
        return Thinking(job.args.get("thinking") or self.manager.settings.instruct.thinking)

    def sampling(self, job: Job, defaults: Mapping[str, Any] | None = None) -> Sampling:
        """Sampling for a job: its own values, else the job kind's `defaults`, else the settings, else the model's.

        Raises CharlieError for an invalid value.
        """
        own = dict(self.manager.wanted(Role.INSTRUCT).header.sampling)
        settings = self.manager.settings.instruct.sampling.model_dump(exclude_unset=True)
        try:
            return Sampling.model_validate({**own, **settings, **(defaults or {}), **job.args.get("sampling", {})})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise CharlieError(f"{name} = {first['input']!r} cannot be used: {first['msg']}.") from error


def stop_condition(context: TaskContext, others_wait: Callable[[], bool]) -> Callable[[], bool]:
    """True when the job must end: it was stopped, or another job waits for the worker."""
    polled, yields = 0.0, False

    def stop() -> bool:
        nonlocal polled, yields
        if not yields and time.monotonic() - polled >= POLL_SECONDS:
            polled, yields = time.monotonic(), others_wait()
        return yields or context.stop.is_set()

    return stop
