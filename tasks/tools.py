"""What a task works with, and the reply loop that chat and ask share."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from core.bus import Bus
from core.database import RedisClient
from core.errors import CharlieError
from core.events import JobProgress
from core.instruct import Completion, FinishReason, InstructModel, Message
from core.library import Library
from core.paths import Paths, find_paths
from core.settings import Sampling
from tasks.jobs import Job, Jobs, JobState, TextWriter

if TYPE_CHECKING:
    from core.vectors import VectorStore
    from states.manager import ModelManager

PROGRESS_SECONDS = 0.25
FEW_TOKENS = 64
"""A prompt of fewer new tokens is read in one piece, and mostly before anybody sees how far that is."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The worker's hands. `raw` is a client that does not decode.

    `stop` is set when the running job is to end, `leaving` when that is because the worker is to end.
    """

    manager: ModelManager
    bus: Bus
    jobs: Jobs
    library: Library
    raw: RedisClient
    stores: dict[str, VectorStore] = field(default_factory=dict)
    paths: Paths = field(default_factory=find_paths)
    stop: threading.Event = field(default_factory=threading.Event)
    leaving: threading.Event = field(default_factory=threading.Event)

    def begin(self, job: Job) -> None:
        """Say that the job's model is warm and its work begins."""
        self.jobs.advance(job.id, JobState.RUNNING, {JobState.WAITING}, known=job)

    def sampling(self, job: Job, usually: Mapping[str, Any] | None = None) -> Sampling:
        """The settings' sampling, in its stead what is `usually` taken for such a job, and what this one asks for.

        Raises CharlieError for a value that cannot be used.
        """
        settings = self.manager.settings.instruct.sampling.model_dump()
        try:
            return Sampling.model_validate({**settings, **(usually or {}), **job.args.get("sampling", {})})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise CharlieError(f"{name} = {first['input']!r} cannot be used: {first['msg']}.") from error

    def reply(
        self, job: Job, model: InstructModel, messages: Sequence[Message], sampling: Sampling, session: str = ""
    ) -> tuple[str, dict[str, Any]]:
        """Stream a completion into the job's output; returns its text and what `--json` shows of it.

        `session` names the conversation that the messages are of, or the state of the journal.
        """
        prompt = model.fit(messages, sampling.max_tokens)
        writer, text = TextWriter(self.jobs, job.id), []
        meter = Meter(self.bus, job.id)
        completion: Completion | None = None
        stream = model.stream(prompt, sampling, session=session, cancelled=self.stop.is_set, on_prefill=meter.prefill)
        for piece in stream:
            if isinstance(piece, Completion):
                completion = piece
                break
            text.append(piece)
            writer.write(piece)
            meter.decoded()
        writer.flush()
        if completion is None:
            raise AssertionError("a stream ends with its Completion")
        return "".join(text), {
            "text": "".join(text),
            "model": model.spec.name,
            "prompt_tokens": completion.prompt_tokens,
            "reused_tokens": completion.reused_tokens,
            "completion_tokens": completion.completion_tokens,
            "finish_reason": completion.finish_reason.value,
            "queue_ms": milliseconds(job.started - job.enqueued),
            "load_ms": milliseconds(self.manager.load_seconds),
            "ttft_ms": milliseconds(completion.ttft_s),
            "tokens_per_second": round(completion.tokens_per_second, 1),
            "left_out": prompt.left_out,
            "truncated": prompt.truncated,
            "starter": model.spec.starter,
        }


class Meter:
    """Publishes how far a completion is, four times a second."""

    def __init__(self, bus: Bus, job: str) -> None:
        self._bus = bus
        self._job = job
        self._sent = 0.0
        self._began = 0.0
        self._tokens = 0

    def prefill(self, done: int, total: int) -> None:
        if total - done >= FEW_TOKENS and self._due():
            self._bus.publish(JobProgress(self._job, "prefill", done, total))

    def decoded(self) -> None:
        self._began = self._began or time.monotonic()
        self._tokens += 1
        if self._due():
            seconds = self._sent - self._began  # since the first one, which was prefill's
            rate = (self._tokens - 1) / seconds if self._tokens > 1 and seconds > 0 else 0.0
            self._bus.publish(JobProgress(self._job, "decode", self._tokens, 0, round(rate, 1)))

    def _due(self) -> bool:
        if time.monotonic() - self._sent < PROGRESS_SECONDS:
            return False
        self._sent = time.monotonic()
        return True


def cancelled(stats: dict[str, Any]) -> bool:
    return bool(stats["finish_reason"] == FinishReason.CANCELLED)


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
