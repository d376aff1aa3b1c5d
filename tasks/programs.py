"""How the worker answers with a program: as an optimizer has left it, if one is in use, else as it comes.

The file in use is read for each job, so what `charlie programs use` says counts from the next job on. DSPy is loaded
with the first program.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from redis.exceptions import RedisError

from core.answers import Answer, answer, load_dspy
from core.compiled import used_file
from core.errors import CharlieError
from core.events import JobProgress
from core.lm import model_id
from core.programs import PROGRAMS
from core.saved_programs import load_program
from tasks.tools import PROGRESS_SECONDS, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.bus import Bus
    from core.instruct import InstructModel
    from core.settings import Sampling
    from tasks.jobs import Job
    from tasks.tools import Tools

LEAST_TOKENS = 512
"""An answer is a JSON object of bounded fields, which has to fit."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program for one job, bound to the loaded model."""

    pulse: Pulse
    name: str
    module: Any
    """Of DSPy."""
    model: InstructModel
    sampling: Sampling
    optimizer: str
    """What has made it; empty for one as it comes."""
    note: str
    """Why what is in use was refused, if it was."""

    def run(self, cancelled: Callable[[], bool], **inputs: str) -> Answer:
        """Raises CancelledError, and CharlieError when there is no answer."""

        def watched() -> bool:
            self.pulse.beat()
            return cancelled()

        return answer(self.module, self.model, self.sampling, inputs, watched)


class Pulse:
    """Publishes how far an answer is, as seen from what the model holds: DSPy tells nothing before its end."""

    def __init__(self, bus: Bus, job: str, model: InstructModel) -> None:
        self._bus = bus
        self._job = job
        self._model = model
        self._held = model.llama.n_tokens
        self._decoded = 0
        self._sent = 0.0

    def beat(self) -> None:
        """Call it often: at each token, and while the prompt is read."""
        held, before = self._model.llama.n_tokens, self._held
        if held == before:
            return
        self._held = held
        self._decoded = self._decoded + 1 if held == before + 1 else 0  # a prompt is read many tokens at a time
        now = time.monotonic()
        if now - self._sent < PROGRESS_SECONDS:
            return
        self._sent = now
        # llama.cpp calls it in the middle of its work, which a lost event is no reason to stop.
        with suppress(RedisError):
            stage: Literal["prefill", "decode"] = "decode" if self._decoded else "prefill"
            self._bus.publish(JobProgress(self._job, stage, self._decoded or held))


def is_compiled(tools: Tools, name: str) -> bool:
    """Whether a compiled program is in use, which may yet be refused."""
    return used_file(tools.paths, name).exists()


def prepare(tools: Tools, job: Job, model: InstructModel, name: str, sampling: Sampling) -> Program:
    """The program on a loaded model.

    What is in use is refused when it was made for another model or other fields, or is damaged; its `note` says so,
    and the program is as it comes.
    """
    with tools.manager.apart():
        load_dspy()
    module, optimizer, note = PROGRAMS[name](), "", ""
    file = used_file(tools.paths, name)
    if file.exists():
        try:
            optimizer = load_program(file, module, model_id(model)).run.optimizer
        except CharlieError as error:
            note = f"{error.message} '{name}' is used as it comes; `charlie programs list` tells of others."
    enough = sampling.model_copy(update={"max_tokens": max(LEAST_TOKENS, sampling.max_tokens)})
    return Program(Pulse(tools.bus, job.id, model), name, module, model, enough, optimizer, note)


def stats_of(tools: Tools, job: Job, program: Program, of: Answer) -> dict[str, Any]:
    """What `--json` shows of an answer beside its text, as far as it is known."""
    spec = program.model.spec
    return {
        "model": spec.name,
        "program": program.name,
        "optimizer": program.optimizer or None,
        "prompt_tokens": of.prompt_tokens,
        "completion_tokens": of.completion_tokens,
        "queue_ms": milliseconds(job.started - job.enqueued),
        "load_ms": milliseconds(tools.manager.load_seconds),
        "starter": spec.starter,
    }
