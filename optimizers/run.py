"""One optimization from beginning to end: the score before, the search, the score of the best that it found."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from core.errors import CharlieError
from core.saved_programs import Run, Sets, fill, predictors_of, read_program, save_program, signature_hash
from core.settings import Sampling
from optimizers.candidates import Candidate, Candidates
from optimizers.methods import Method, Search, answers, search
from optimizers.scoring import interval

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    import dspy

    from core.engine import InstructModel
    from optimizers.task import Split, Task

PROPOSING = 1.0
"""The temperature at which instructions are written."""


@dataclass(frozen=True, slots=True)
class Options:
    method: Method
    budget: int
    seed: int
    max_tokens: int
    out: Path
    folder: Path
    """Where the run keeps its log and the model's answers, so that it can be gone on with."""
    resume: bool


@dataclass(slots=True)
class Watch:
    """What is seen of a run: a bar of answers with the best score so far, and whether to stop."""

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

    def found(self, candidate: Candidate) -> None:
        if self.stop.is_set():  # its answers were cut off
            return
        self.candidates.add(candidate)
        if best := self.candidates.best:
            self.bar.set_postfix_str(f"best {best.score:.1f}% of {len(self.candidates.found)}")


def optimize(task: Task, options: Options, split: Split, model: InstructModel) -> tuple[Run, Path, bool]:
    """Search, write the best program, and say how good it is, and where it is; whether Ctrl+C cut the search off.

    Raises CharlieError when the model cannot answer at all, KeyboardInterrupt when nothing was found before it.
    """
    import dspy

    from core.lm import make_lm, model_id

    began = time.monotonic()
    sets = Sets(train=len(split.train), validation=len(split.validation), test=len(split.test))
    program = task.program()
    candidates = _begin(task, options, program, sets, model_id(model))
    total = answers(options.method, options.budget, sets.train, sets.validation) + sets.validation + 2 * sets.test
    with _watching(options.folder / "dspy.log", total, candidates) as watch:
        sampling = Sampling(temperature=0, max_tokens=options.max_tokens, seed=options.seed)
        lm = make_lm(model, sampling=sampling, cancelled=watch.stop.is_set)
        proposing = sampling.model_copy(update={"temperature": PROPOSING})
        with dspy.context(
            lm=lm,
            adapter=dspy.JSONAdapter(),
            num_threads=1,
            # An answer that does not parse is a wrong answer and never ends the run.
            max_errors=sys.maxsize,
            callbacks=[_callback(watch, split)],
        ):
            watch.bar.set_description("before")
            before = _scores(task, program, split.test)
            if len(watch.failed) == len(split.test):
                raise CharlieError(
                    f"The model cannot answer: {str(watch.failed[-1]).splitlines()[0]}.",
                    "Another --max-tokens, or a longer context, may help.",
                )
            cut_off = False
            watch.bar.set_description("searching")
            given = Search(
                task, split, options.budget, options.seed,
                make_lm(model, sampling=proposing, cancelled=watch.stop.is_set),
                lambda candidate: sum(_scores(task, candidate, split.validation)) * 100 / sets.validation,
            )  # fmt: skip
            try:
                given.evaluate(program)
                search(options.method, given, program)
            except KeyboardInterrupt:
                cut_off = True
                watch.stop.clear()
            best = candidates.best
            if best is None:
                raise KeyboardInterrupt
            watch.bar.set_description("after")
            fill(program, best.predictors)
            after = _scores(task, program, split.test)
    if watch.failed:
        print(f"{len(watch.failed)} answers failed, the last: {watch.failed[-1]}", file=sys.stderr)
    run = Run(
        program=task.name,
        model=model_id(model),
        optimizer=options.method.value,
        budget=options.budget,
        seed=options.seed,
        before=interval(before),
        after=interval(after),
        gain=interval([one - other for one, other in zip(after, before, strict=True)]),
        sets=sets,
        candidates=len(candidates.found),
        answers=watch.answers,
        seconds=round(time.monotonic() - began, 1),
    )
    out = _beside(options.out, run) if cut_off else options.out
    save_program(out, program, run)
    if not cut_off:
        shutil.rmtree(options.folder / "answers", ignore_errors=True)
    return run, out, cut_off


def _beside(out: Path, run: Run) -> Path:
    """`out`, or a file beside it where that holds a program that is as good: what was stopped takes no place of it."""
    try:
        kept = read_program(out).run
    except CharlieError:
        return out
    return (
        out.with_stem(f"{out.stem}-stopped") if kept.model == run.model and kept.after.mean >= run.after.mean else out
    )


def _begin(task: Task, options: Options, program: dspy.Module, sets: Sets, model: str) -> Candidates:
    """The log of the run, begun or gone on with, and the model's answers beside it.

    The same search asks for the same answers again: with those of before at hand it is soon where it was.
    """
    import dspy

    candidates = Candidates(options.folder / "candidates.jsonl")
    begun = {
        "program": task.name, "optimizer": options.method.value, "budget": options.budget, "seed": options.seed,
        "max_tokens": options.max_tokens, "model": model, "signature": signature_hash(program),
        "examples": sets.model_dump(),
    }  # fmt: skip
    if options.resume:
        candidates.resume(begun)
    else:
        shutil.rmtree(options.folder, ignore_errors=True)
        candidates.begin(begun)
    dspy.configure_cache(
        enable_disk_cache=True,
        enable_memory_cache=True,
        disk_cache_dir=str(options.folder / "answers"),
        restrict_pickle=True,
    )
    return candidates


def _scores(task: Task, program: dspy.Module, examples: list[Any]) -> list[float]:
    """0 to 1 for each example; one that failed has 0."""
    import dspy

    evaluate = dspy.Evaluate(
        devset=examples, metric=lambda one, other, _=None: task.score(one, other), num_threads=1, display_progress=False
    )
    return [float(score) for *_, score in evaluate(program).results]


def _callback(watch: Watch, split: Split) -> Any:
    """Counts the model's answers, and sees every program that is evaluated on the validation set."""
    from dspy.utils.callback import BaseCallback

    class Callback(BaseCallback):  # type: ignore[misc]  # dspy is untyped
        def __init__(self) -> None:
            self.evaluated: dict[str, Any] = {}

        def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:  # noqa: ARG002
            if watch.stop.is_set():
                raise KeyboardInterrupt

        def on_lm_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:  # noqa: ARG002
            watch.answered(exception)

        def on_evaluate_start(self, call_id: str, instance: Any, inputs: Any) -> None:
            examples = inputs.get("devset") or instance.devset
            if len(examples) == len(split.validation) and examples[0] is split.validation[0]:
                self.evaluated[call_id] = inputs["program"]

        def on_evaluate_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
            program = self.evaluated.pop(call_id, None)
            if program is not None and exception is None:
                watch.found(Candidate(predictors_of(program), float(outputs.score)))

    return Callback()


@contextmanager
def _watching(log: Path, total: int, candidates: Candidates) -> Iterator[Watch]:
    """A bar on stderr; all that DSPy prints goes to the log. The first Ctrl+C stops the answer that is being made.

    Not by an exception there and then: llama.cpp calls back into Python, and what is raised in there is lost.
    """
    with (
        tqdm(total=total, file=sys.stderr, unit=" answers", dynamic_ncols=True) as bar,
        log.open("a", encoding="utf-8", errors="replace") as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        watch = Watch(bar, candidates)

        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            watch.stop.set()

        old = signal.signal(signal.SIGINT, stop)
        try:
            yield watch
        finally:
            signal.signal(signal.SIGINT, old)
