"""Runs a program: the compiled one in use, else the default.

The file in use is read for each job, so `charlie programs use` counts from the next job on. DSPy is loaded with the
first program.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from redis.exceptions import RedisError

from core.dspy_lm.engine import model_id
from core.errors import CharlieError
from core.events.bus import Bus
from core.events.types import JobProgress
from core.llama.instruct import InstructModel
from core.model_files.spec import ModelSpec
from core.programs.in_use import file_in_use
from core.programs.run import Answer, answer, load_dspy
from core.programs.saved import load_program
from core.programs.signatures import PROGRAMS
from core.settings import Sampling
from tasks.handlers.context import TaskContext
from tasks.handlers.reply import Progress, milliseconds
from tasks.jobs.records import Job

LEAST_PARAMETERS = 1_000_000_000
LEAST_TOKENS = 512
"""Enough for an answer, which is a JSON object with bounded fields."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program for one job, bound to the loaded model."""

    progress: AnswerProgress
    name: str
    module: Any
    """A DSPy module."""
    model: InstructModel
    sampling: Sampling
    optimizer: str
    """The optimizer that compiled it; empty for the default program."""
    note: str
    """The reason when the program in use was refused."""

    def run(self, cancelled: Callable[[], bool], **inputs: str) -> Answer:
        """Raises CancelledError, and CharlieError when there is no answer."""

        def watched() -> bool:
            self.progress.update()
            return cancelled()

        return answer(self.module, self.model, self.sampling, inputs, watched)


class AnswerProgress(Progress):
    """Publishes the progress of an answer, read from the model's KV cache: DSPy reports nothing before the end."""

    def __init__(self, bus: Bus, job: str, model: InstructModel) -> None:
        super().__init__(bus, job)
        self._model = model
        self._held = model.llama.n_tokens
        self._decoded = 0

    def update(self) -> None:
        """To be called at each token, and during prefill."""
        held, before = self._model.llama.n_tokens, self._held
        if held == before:
            return
        self._held = held
        self._decoded = self._decoded + 1 if held == before + 1 else 0  # prefill takes many tokens at a time
        if not self._due():
            return
        # Called by llama.cpp during its work; a lost event is no reason to stop that.
        with suppress(RedisError):
            stage: Literal["prefill", "decode"] = "decode" if self._decoded else "prefill"
            self._bus.publish(JobProgress(self._job, stage, self._decoded or held))


def follows_programs(spec: ModelSpec) -> bool:
    """Whether a model is large enough for a title that is better than the first words, or for a reflection."""
    return spec.header.parameters >= LEAST_PARAMETERS


def is_compiled(context: TaskContext, name: str, model: InstructModel) -> bool:
    """Whether a compiled program is in use. `prepare` may still refuse it."""
    return file_in_use(context.paths, name, model.spec.header) is not None


def prepare(context: TaskContext, job: Job, model: InstructModel, name: str, sampling: Sampling) -> Program:
    """The program on a loaded model.

    A compiled program that is damaged, or was made for another model or other fields, is refused: `note` has the
    reason, and the default program is used.
    """
    with context.manager.excluded_from_model():
        load_dspy()
    module, optimizer, note = PROGRAMS[name](), "", ""
    if file := file_in_use(context.paths, name, model.spec.header):
        try:
            optimizer = load_program(file, module, model_id(model)).run.optimizer
        except CharlieError as error:
            note = f"{error.message} The default '{name}' is used; `charlie programs list` shows others."
    enough = sampling.model_copy(update={"max_tokens": max(LEAST_TOKENS, sampling.max_tokens)})
    return Program(AnswerProgress(context.bus, job.id, model), name, module, model, enough, optimizer, note)


def stats_of(context: TaskContext, job: Job, program: Program, of: Answer) -> dict[str, Any]:
    """The result of a job answered by a program, apart from its text."""
    spec = program.model.spec
    return {
        "model": spec.name,
        "program": program.name,
        "optimizer": program.optimizer or None,
        "prompt_tokens": of.prompt_tokens,
        "completion_tokens": of.completion_tokens,
        "queue_ms": milliseconds(job.started - job.enqueued),
        "load_ms": milliseconds(context.manager.load_seconds),
        "bundled": spec.bundled,
    }
