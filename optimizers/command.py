"""What the optimizers share: options, data, scores before and after, the progress bar and the written program."""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from core.errors import CharlieError
from core.paths import find_paths
from core.settings import Role, Sampling, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import dspy

    from core.engine import InstructModel

DATA = Path(__file__).parent / "data"
INTERRUPTED = 130
PROPOSAL_CHARACTERS = 8_000
"""MIPROv2's longest prompt on our data, twice over."""


@dataclass(frozen=True, slots=True)
class Split:
    """The examples, in three parts that share none."""

    train: list[Any]
    validation: list[Any]
    test: list[Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One program to optimize: its data, its metric and its optimizer."""

    name: str
    optimizer: str
    program: Callable[[], dspy.Module]
    example: Callable[[dict[str, Any]], Any]
    """From a row of the data file to a `dspy.Example` with its inputs marked."""
    metric: Callable[..., float]
    """(example, prediction, trace=None) -> 0 to 1."""
    compile: Callable[[dspy.Module, Split, Options, InstructModel], dspy.Module]
    answers: Callable[[Split, int], int]
    """About how many answers of the model the optimizer takes for a budget: for the progress bar alone."""
    budget: int
    budget_help: str


@dataclass(frozen=True, slots=True)
class Options:
    out: Path
    seed: int
    max_tokens: int
    budget: int
    examples: int | None
    dry_run: bool


def main(task: Task, arguments: Sequence[str] | None = None) -> int:
    """Run an optimizer from the command line and return its exit status."""
    parser = _parser(task)
    parsed = parser.parse_args(arguments)
    options = Options(
        out=parsed.out or find_paths().programs / f"{task.name}.json",
        seed=parsed.seed,
        max_tokens=parsed.max_tokens,
        budget=parsed.budget,
        examples=parsed.examples,
        dry_run=parsed.dry_run,
    )
    try:
        _optimize(task, options, parsed.model)
    except KeyboardInterrupt:
        print(f"Stopped; {options.out} was not written.", file=sys.stderr)
        return INTERRUPTED
    except CharlieError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser(task: Task) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=f"Optimize the {task.name} program with {task.optimizer} and write it as JSON.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="the file to write (unset: where Charlie looks for it)")
    parser.add_argument("--model", type=Path, help="the GGUF file (unset: the configured model)")
    parser.add_argument("--seed", type=_natural, default=0, help="of the split, the optimizer and sampling")
    parser.add_argument("--max-tokens", type=_positive, default=256, help="per answer")
    parser.add_argument("--budget", type=_positive, default=task.budget, help=task.budget_help)
    parser.add_argument("--examples", type=_positive, help="use only so many examples (unset: all)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    return parser


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _optimize(task: Task, options: Options, file: Path | None) -> None:
    rows = json.loads((DATA / f"{task.name}.json").read_text(encoding="utf-8"))
    random.Random(options.seed).shuffle(rows)  # noqa: S311
    rows = rows[: options.examples]
    if len(rows) < 4:
        raise CharlieError("At least 4 examples are needed.", "Give --examples a higher number.")

    # A configured file that is relative lies in the models folder; an argument lies where the user is.
    arguments = {} if file is None else {"instruct": {"file": file.expanduser().absolute()}}
    settings = load_settings(**arguments)
    paths = find_paths()
    from core.model_files import resolve

    spec = resolve(settings, paths, Role.INSTRUCT)
    # There is no plan here that would find the largest context: examples are short.
    spec = replace(spec, context_length=spec.least_context)
    quarter = len(rows) // 4
    sizes = f"{len(rows) - 2 * quarter} to train, {quarter} to validate, {quarter} to test"
    print(f"{task.optimizer} on {task.name}: {sizes}; model {spec.path}", file=sys.stderr)
    if options.dry_run:
        print(f"Would write {options.out}.", file=sys.stderr)
        return

    from core.engine import load_instruct
    from core.lm import model_id
    from core.saved_programs import save_program

    examples = [task.example(row) for row in rows]
    split = Split(examples[2 * quarter :], examples[:quarter], examples[quarter : 2 * quarter])
    paths.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = paths.logs / f"optimize_{task.name}.log"
    model = load_instruct(spec)
    try:
        best, before, after = _before_and_after(task, options, split, model, log)
        save_program(
            options.out,
            best,
            name=task.name,
            model=model_id(model),
            optimizer=task.optimizer,
            scores=(before, after),
            examples=len(split.test),
        )
    finally:
        model.close()
    print(f"before {before:.1f} %  after {after:.1f} %  ({len(split.test)} test examples)")
    print(f"Wrote {options.out}; what DSPy said is in {log}.", file=sys.stderr)


def _before_and_after(
    task: Task, options: Options, split: Split, model: InstructModel, log: Path
) -> tuple[dspy.Module, float, float]:
    """The optimized program, and the score on the test examples before and after.

    Raises CharlieError when the model cannot answer at all.
    """
    import dspy

    from core.lm import make_lm

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True, restrict_pickle=True)
    sampling = Sampling(temperature=0, max_tokens=options.max_tokens, seed=options.seed)
    answers = 2 * len(split.test) + task.answers(split, options.budget)
    program = task.program()
    with (
        _progress(log, answers) as (bar, failures),
        dspy.context(
            lm=make_lm(model, sampling=sampling),
            adapter=dspy.JSONAdapter(),
            num_threads=1,
            # An answer that does not parse is a wrong answer and never ends the run.
            max_errors=sys.maxsize,
            callbacks=[failures],
        ),
    ):
        try:
            bar.set_description("before")
            before = _score(task, program, split.test)
            if len(failures.found) == len(split.test):
                raise failures.found[-1]
            bar.set_description("optimizing")
            best = task.compile(program, split, options, model)
            bar.set_description("after")
            bar.total = bar.n + len(split.test)
            after = _score(task, best, split.test)
        except dspy.LMError as error:
            raise CharlieError(
                f"The model cannot answer: {str(error).splitlines()[0]}.",
                "Another --max-tokens, or a longer context, may help.",
            ) from error
    if failures.found:
        print(f"{len(failures.found)} answers failed, the last: {failures.found[-1]}", file=sys.stderr)
    return best, before, after


def _score(task: Task, program: dspy.Module, examples: list[Any]) -> float:
    import dspy

    evaluate = dspy.Evaluate(devset=examples, metric=task.metric, num_threads=1, display_progress=False)
    return float(evaluate(program).score)


@contextmanager
def _progress(log: Path, total: int) -> Iterator[tuple[tqdm[Any], Any]]:
    """A bar on stderr that counts the model's answers, and what failed; all that DSPy prints goes to the file."""
    from dspy.utils.callback import BaseCallback

    class Failures(BaseCallback):  # type: ignore[misc]  # dspy is untyped
        def __init__(self) -> None:
            self.found: list[Exception] = []

        def on_lm_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:  # noqa: ARG002
            bar.update()
            if exception is not None:
                self.found.append(exception)

    with (
        tqdm(total=total, file=sys.stderr, unit=" answers") as bar,
        log.open("w", encoding="utf-8", errors="replace") as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        yield bar, Failures()


def room_for_proposals(model: InstructModel) -> bool:
    """Whether the context holds the long prompts in which MIPROv2 shows the program and the data."""
    sample = b"The proposer writes about the program, its data and its examples. "
    per_character = len(model.llama.tokenize(sample, add_bos=False)) / len(sample)
    return bool(model.llama.n_ctx() > math.ceil(PROPOSAL_CHARACTERS * per_character))
