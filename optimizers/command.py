"""The command line that the optimizers share."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.compiled import folder
from core.errors import CharlieError
from core.paths import find_paths
from core.settings import Role, load_settings
from optimizers.methods import Method
from optimizers.task import split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.saved_programs import Run, Score
    from optimizers.task import Task

INTERRUPTED = 130


def main(task: Task, arguments: Sequence[str] | None = None) -> int:
    """Run an optimizer from the command line and return its exit status."""
    parsed = _parser(task).parse_args(arguments)
    try:
        return _optimize(task, parsed)
    except KeyboardInterrupt:
        print("Stopped, and nothing was written; --resume goes on from here.", file=sys.stderr)
        return INTERRUPTED
    except CharlieError as error:
        print(error, file=sys.stderr)
        return 1


def _parser(task: Task) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=f"Look for instructions and examples with which the {task.name} program answers better, "
        "and write the best as JSON. Ctrl+C keeps the best so far.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--optimizer", choices=[each.value for each in Method], default="random-search", help="how to search"
    )
    parser.add_argument("--budget", type=_positive, default=600, help="about how many answers the search may take")
    parser.add_argument("--seed", type=_natural, default=0, help="of the examples, the search and sampling")
    parser.add_argument("--model", type=Path, help="the GGUF file (unset: the configured model)")
    parser.add_argument("--resume", action="store_true", help="go on with the run of this optimizer that was stopped")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    parser.add_argument("--out", type=Path, help="the file to write (unset: where `charlie programs` looks for it)")
    parser.add_argument("--max-tokens", type=_positive, default=512, help="per answer")
    parser.add_argument("--examples", type=_positive, help="use only so many examples (unset: all)")
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("must be a whole number, and not negative")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number, and at least 1")
    return int(text)


def _optimize(task: Task, parsed: argparse.Namespace) -> int:
    # A configured file that is relative lies in the models folder; an argument lies where the user is.
    file: Path | None = parsed.model
    arguments = {} if file is None else {"instruct": {"file": file.expanduser().absolute()}}
    settings = load_settings(**arguments)
    paths = find_paths()
    from core.model_files import resolve

    spec = resolve(settings, paths, Role.INSTRUCT)
    # There is no plan here that would find the largest context: examples are short.
    spec = replace(spec, context_length=spec.least_context)
    examples = split(task, starter=spec.starter, seed=parsed.seed, most=parsed.examples)
    name = f"{task.name}-{parsed.optimizer}"
    out = parsed.out or folder(paths) / f"{name}.json"
    sizes = (
        f"{len(examples.train)} examples to train, {len(examples.validation)} to validate, {len(examples.test)} to test"
    )
    print(f"{parsed.optimizer} on {task.name}: {sizes}; model {spec.path}", file=sys.stderr)
    if parsed.dry_run:
        print(f"Would take about {parsed.budget:,} answers to search, and write {out}.", file=sys.stderr)
        return 0

    from core.engine import load_instruct
    from optimizers.run import Options, optimize

    options = Options(
        method=Method(parsed.optimizer),
        budget=parsed.budget,
        seed=parsed.seed,
        max_tokens=parsed.max_tokens,
        out=out,
        folder=paths.programs / "runs" / name,
        resume=parsed.resume,
    )
    model = load_instruct(spec)
    try:
        run, out, cut_off = optimize(task, options, examples, model)
    finally:
        model.close()
    print(_told(run))
    print(f"Wrote {out}; the candidates are in {options.folder}.", file=sys.stderr)
    if cut_off:
        print("The search was stopped, and this is the best so far; --resume goes on with it.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _told(run: Run) -> str:
    significant = "significant" if run.gain.low > 0 else "not significant"
    return (
        f"before {_shown(run.before)}  after {_shown(run.after)}  gain {_shown(run.gain)}, {significant}  "
        f"({run.sets.test} test examples, {run.answers:,} answers, {run.seconds / 60:.1f} min)"
    )


def _shown(score: Score) -> str:
    return f"{score.mean:.1f}% [{score.low:.1f}, {score.high:.1f}]"
