"""Streams a model's reply into a job's output, and measures it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

from core.events.bus import Bus
from core.events.types import JobProgress
from core.llama.instruct import Completion, FinishReason, InstructModel, Message, Thought
from core.memory.speed import learn
from core.settings import Sampling, Thinking
from tasks.handlers.context import TaskContext
from tasks.jobs.records import Job
from tasks.jobs.text_writer import TextWriter

PROGRESS_SECONDS = 0.25
STEADY = 1.1
"""A repeat penalty against loops of a small model. DRY ended as many, and changed the numbers of dates."""
FEW_TOKENS = 64
"""A rest of the prompt below this is evaluated in one piece; its progress is not published."""


class Progress:
    """Publishes the progress of a job four times a second."""

    def __init__(self, bus: Bus, job: str) -> None:
        self._bus = bus
        self._job = job
        self._sent = 0.0

    def _due(self) -> bool:
        if time.monotonic() - self._sent < PROGRESS_SECONDS:
            return False
        self._sent = time.monotonic()
        return True


class ReplyProgress(Progress):
    def __init__(self, bus: Bus, job: str, writer: TextWriter) -> None:
        super().__init__(bus, job)
        self._writer = writer
        self._began = 0.0
        self._tokens = 0
        self._stage: Literal["think", "decode"] = "decode"

    def prefill(self, done: int, total: int) -> None:
        if total - done >= FEW_TOKENS and self._due():
            self._bus.publish(JobProgress(self._job, "prefill", done, total))

    def decoded(self, stage: Literal["think", "decode"]) -> None:
        if stage != self._stage:  # the status of the reply changes at once
            self._stage, self._tokens, self._began, self._sent = stage, 0, 0.0, 0.0
        self._began = self._began or time.monotonic()
        self._tokens += 1
        if self._due():
            seconds = self._sent - self._began  # since the first token, which prefill has made
            rate = (self._tokens - 1) / seconds if self._tokens > 1 and seconds > 0 else 0.0
            progress = JobProgress(self._job, stage, self._tokens, 0, round(rate, 1))
            self._writer.call(self._bus.publish, progress)


def reply(
    context: TaskContext,
    job: Job,
    model: InstructModel,
    messages: Sequence[Message],
    sampling: Sampling,
    session: str,
    thinking: Thinking,
    *,
    steady: bool,
) -> tuple[str, dict[str, Any]]:
    """Stream a completion into the job's output; returns its text and the result of the job.

    `session` names the KV cache to continue: the conversation's, or that of the journal's revision. `steady` keeps a
    small model from loops, by a repeat penalty unless one is set.
    """
    prompt = model.fit(messages, sampling.max_tokens, thinking=thinking, thinking_tokens=sampling.thinking_tokens)
    text: list[str] = []
    thought: list[str] = []
    completion: Completion | None = None
    if steady and "repeat_penalty" not in sampling.model_fields_set:
        sampling = sampling.model_copy(update={"repeat_penalty": STEADY})
    with TextWriter(context.jobs, job.id) as writer:
        progress = ReplyProgress(context.bus, job.id, writer)
        stopped, on_prefill = context.stop.is_set, progress.prefill
        for piece in model.stream(prompt, sampling, session=session, cancelled=stopped, on_prefill=on_prefill):
            if isinstance(piece, Completion):
                completion = piece
                break
            writer.write(piece)
            if isinstance(piece, Thought):
                thought.append(piece.text)
                progress.decoded("think")
            else:
                text.append(piece)
                progress.decoded("decode")
    if completion is None:
        raise AssertionError("a stream ends with its Completion")
    fresh, answered = completion.prompt_tokens - completion.reused_tokens, completion.completion_tokens
    answered += completion.reasoning_tokens
    learn(context.paths, model.spec, fresh, completion.ttft_s, answered, completion.tokens_per_second)
    return "".join(text), {
        "text": "".join(text),
        "model": model.spec.name,
        "prompt_tokens": completion.prompt_tokens,
        "reused_tokens": completion.reused_tokens,
        "completion_tokens": completion.completion_tokens,
        "finish_reason": completion.finish_reason.value,
        "queue_ms": milliseconds(job.started - job.enqueued),
        "load_ms": milliseconds(context.manager.load_seconds),
        "ttft_ms": milliseconds(completion.ttft_s),
        "tokens_per_second": round(completion.tokens_per_second, 1),
        "reasoning": "".join(thought).strip(),
        "reasoning_tokens": completion.reasoning_tokens,
        "reasoning_ms": milliseconds(completion.reasoning_s),
        "reasoning_cut": completion.reasoning_cut,
        "left_out": prompt.left_out,
        "truncated": prompt.truncated,
        "note": prompt.note,
        "bundled": model.spec.bundled,
    }


def cancelled(result: dict[str, Any]) -> bool:
    return bool(result["finish_reason"] == FinishReason.CANCELLED)


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
