"""One optimization: the score before, the search, and the score of the best candidate."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback
from tqdm import tqdm

from core.dspy_lm.engine import make_lm, model_id
from core.errors import CharlieError
from core.llama.engine import InstructModel
from core.programs.saved import Run, Sets, fill, predictors_of, save_program, signature_hash
from core.programs.signatures import PROGRAMS
from core.settings import Sampling
from optimizers.candidates import Candidates
from optimizers.methods import SEARCHES, Search
from optimizers.scoring import interval
from optimizers.task import Method, Split, Task

PROPOSAL_TEMPERATURE = 1.0
"""For writing instructions."""


@dataclass(frozen=True, slots=True)
class Options:
    method: Method
    budget: int
    seed: int
    max_tokens: int
    out: Path
    folder: Path
    """The log of the run and the model's answers, from which it can be resumed."""
    resume: bool


@dataclass(slots=True)
class Monitor:
    """Counts answers and candidates, shows them in a progress bar, and holds the request to stop."""

    bar: tqdm[Any]
    candidates: Candidates
    stop: threading.Event = field(default_factory=threading.Event)
    failed: list[Exception] = field(default_factory=list)
    answers: int = 0

    def answered(self, error: Exception | None) -> None:
        self.answers += 1
        self.bar.total = max(self.bar.total or 0, self.answers)
        self.bar.update()
        if error is not None:
            self.failed.append(error)

    def found(self, program: dspy.Module, score: float) -> None:
        if self.stop.is_set():  # the stop has interrupted its answers
            return
        self.candidates.add(predictors_of(program), score)
        if best := self.candidates.best:
            self.bar.set_postfix_str(f"best {best.score:.1f}% of {len(self.candidates.found)}")


def optimize(task: Task, options: Options, split: Split, model: InstructModel) -> tuple[Run, Path, bool]:
    """Search, and write the best program. Returns its run, its file, and whether Ctrl+C stopped the search.

    Raises CharlieError when the model cannot answer at all, KeyboardInterrupt when Ctrl+C came before any candidate.
    """
    began = time.monotonic()
    sets = Sets(train=len(split.train), validation=len(split.validation), test=len(split.test))
    program = PROGRAMS[task.name]()
    candidates = _open_log(task, options, program, sets, model_id(model))
    total = options.budget + 2 * (sets.validation + sets.test)
    with _monitored(options.folder / "dspy.log", total, candidates) as monitor:
        sampling = Sampling(temperature=0, max_tokens=options.max_tokens, seed=options.seed)
        lm = make_lm(model, sampling=sampling, cancelled=monitor.stop.is_set)
        proposing = sampling.model_copy(update={"temperature": PROPOSAL_TEMPERATURE})
        proposer = make_lm(model, sampling=proposing, cancelled=monitor.stop.is_set)
        with dspy.context(
            lm=lm,
            adapter=dspy.JSONAdapter(),
            num_threads=1,
            # An answer that does not parse is a wrong answer and never ends the run.
            max_errors=sys.maxsize,
            callbacks=[_Callback(monitor, split)],
        ):
            monitor.bar.set_description("before")
            before = _scores(task, program, split.test)
            if len(monitor.failed) == len(split.test):
                raise CharlieError(
                    f"The model cannot answer: {str(monitor.failed[-1]).splitlines()[0]}.",
                    "Another --max-tokens, or a longer context, may help.",
                )
            stopped = _search(task, options, split, proposer, program, monitor)
            if candidates.best is None:
                raise KeyboardInterrupt
            monitor.bar.set_description("after")
            fill(program, candidates.best.predictors)
            after = _scores(task, program, split.test)
    if monitor.failed:
        print(f"{len(monitor.failed)} answers failed, the last: {monitor.failed[-1]}", file=sys.stderr)
    run = Run(
        program=task.name, model=model_id(model),
        optimizer=options.method.value, budget=options.budget, seed=options.seed,
        before=interval(before), after=interval(after),
        gain=interval([one - other for one, other in zip(after, before, strict=True)]),
        sets=sets, candidates=len(candidates.found), answers=monitor.answers,
        seconds=round(time.monotonic() - began, 1),
    )  # fmt: skip
    # Neither takes the place of an earlier result.
    kept = "-rejected" if run.gain.mean < 0 else "-stopped" if stopped else ""
    out = options.out.with_stem(options.out.stem + kept)
    save_program(out, program, run)
    if not stopped:
        shutil.rmtree(options.folder / "answers", ignore_errors=True)
    return run, out, stopped


def _search(
    task: Task, options: Options, split: Split, proposer: dspy.LM, program: dspy.Module, monitor: Monitor
) -> bool:
    """Search until the budget is spent. Returns whether Ctrl+C stopped it."""

    def evaluate(candidate: dspy.Module) -> float:
        return sum(_scores(task, candidate, split.validation)) * 100 / len(split.validation)

    monitor.bar.set_description("searching")
    try:
        evaluate(program)
        SEARCHES[options.method](Search(task, split, options.budget, options.seed, proposer, evaluate), program)
    except KeyboardInterrupt:
        monitor.stop.clear()
        return True
    return False


def _open_log(task: Task, options: Options, program: dspy.Module, sets: Sets, model: str) -> Candidates:
    """Start or resume the log of the run, and cache the model's answers beside it.

    A resumed search asks for the same answers again; the cache returns it quickly to the point where it stopped.
    """
    candidates = Candidates(options.folder / "candidates.jsonl")
    parameters = {
        "program": task.name, "optimizer": options.method.value, "budget": options.budget, "seed": options.seed,
        "max_tokens": options.max_tokens, "model": model, "signature": signature_hash(program),
        "examples": sets.model_dump(),
    }  # fmt: skip
    if options.resume:
        candidates.resume(parameters)
    else:
        shutil.rmtree(options.folder, ignore_errors=True)
        candidates.start(parameters)
    dspy.configure_cache(
        enable_disk_cache=True,
        enable_memory_cache=True,
        disk_cache_dir=str(options.folder / "answers"),
        restrict_pickle=True,
    )
    return candidates


def _scores(task: Task, program: dspy.Module, examples: list[Any]) -> list[float]:
    """A score from 0 to 1 for each example; a failed answer has 0."""
    evaluate = dspy.Evaluate(
        devset=examples, metric=lambda one, other, _=None: task.score(one, other), num_threads=1, display_progress=False
    )
    return [float(score) for *_, score in evaluate(program).results]


class _Callback(BaseCallback):  # type: ignore[misc]  # dspy is untyped
    """Reports answers and every program that is evaluated on the validation set."""

    def __init__(self, monitor: Monitor, split: Split) -> None:
        self.monitor, self.validation = monitor, split.validation
        self.evaluated: dict[str, Any] = {}

    def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:  # noqa: ARG002
        if self.monitor.stop.is_set():
            raise KeyboardInterrupt

    def on_lm_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:  # noqa: ARG002
        self.monitor.answered(exception)

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: Any) -> None:
        examples = inputs.get("devset") or instance.devset
        if len(examples) == len(self.validation) and examples[0] is self.validation[0]:
            self.evaluated[call_id] = inputs["program"]

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        program = self.evaluated.pop(call_id, None)
        if program is not None and exception is None:
            self.monitor.found(program, float(outputs.score))


@contextmanager
def _monitored(log: Path, total: int, candidates: Candidates) -> Iterator[Monitor]:
    """Show a progress bar on stderr, and write DSPy's output to the log. Ctrl+C stops the present answer.

    It sets a flag instead of raising: an exception inside a callback of llama.cpp would be lost.
    """
    with (
        tqdm(total=total, file=sys.stderr, unit=" answers", dynamic_ncols=True) as bar,
        log.open("a", encoding="utf-8", errors="replace") as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        monitor = Monitor(bar, candidates)
        old = signal.signal(signal.SIGINT, lambda *_: monitor.stop.set())
        try:
            yield monitor
        finally:
            signal.signal(signal.SIGINT, old)
