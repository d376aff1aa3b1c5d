"""The command line that the optimizers share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from core.errors import CharlieError
from core.paths import find_paths
from core.programs.in_use import compiled_folder
from core.programs.saved import Run
from core.roles import Role
from core.settings_file import load_settings
from optimizers.task import Method, Task, split

INTERRUPTED = 130


def main(task: Task, arguments: Sequence[str] | None = None) -> int:
    """Run an optimizer from the command line and return its exit status."""
    parsed = _parser(task).parse_args(arguments)
    try:
        return _optimize(task, parsed)
    except KeyboardInterrupt:
        print("Stopped; nothing was written. --resume continues this run.", file=sys.stderr)
        return INTERRUPTED
    except CharlieError as error:
        print(error, file=sys.stderr)
        return 1


def _parser(task: Task) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=f"Search for instructions and examples that improve the {task.name} program, "
        "and write the best as JSON. Ctrl+C keeps the best so far.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--optimizer", choices=[each.value for each in Method], default="random-search", help="search method"
    )
    parser.add_argument("--budget", type=_number, default=600, help="approximate number of model answers in the search")
    parser.add_argument(
        "--seed", type=partial(_number, least=0), default=0, help="seed of the examples, the search and sampling"
    )
    parser.add_argument("--model", type=Path, help="GGUF file (unset: the configured model)")
    parser.add_argument("--resume", action="store_true", help="continue the stopped run of this optimizer")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, and exit")
    parser.add_argument("--out", type=Path, help="output file (unset: where `charlie programs` looks)")
    parser.add_argument("--max-tokens", type=_number, default=512, help="limit of tokens per answer")
    parser.add_argument("--examples", type=_number, help="number of examples to use (unset: all)")
    return parser


def _number(text: str, least: int = 1) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}")
    return int(text)


def _optimize(task: Task, parsed: argparse.Namespace) -> int:
    if parsed.optimizer == Method.MIPRO and find_spec("optuna") is None:
        raise CharlieError("The optimizer mipro needs Optuna, which is not installed.", "Run `pip install optuna`.")
    # A relative path from the settings starts at the models folder, one from an argument at the current folder.
    file: Path | None = parsed.model
    arguments = {} if file is None else {"instruct": {"file": file.expanduser().absolute()}}
    settings = load_settings(**arguments)
    paths = find_paths()
    from core.model_files.spec import resolve

    spec = resolve(settings, paths, Role.INSTRUCT)
    # Examples are short, so the smallest context is enough; no plan looks for the largest.
    spec = replace(spec, context_length=spec.least_context)
    examples = split(task, seed=parsed.seed, most=parsed.examples)
    name = f"{task.name}-{parsed.optimizer}"
    out = parsed.out or compiled_folder(paths) / f"{name}.json"
    sizes = (
        f"{len(examples.train)} examples to train, {len(examples.validation)} to validate, {len(examples.test)} to test"
    )
    print(f"{parsed.optimizer} on {task.name}: {sizes}; model {spec.path}", file=sys.stderr)
    if parsed.dry_run:
        print(f"The search would take about {parsed.budget:,} answers, and write {out}.", file=sys.stderr)
        return 0

    from core.llama.engine import InstructModel, load_as
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
    model = load_as(InstructModel, spec)
    try:
        run, out, stopped = optimize(task, options, examples, model)
    finally:
        model.close()
    print(_summary(run))
    if run.gain.mean < 0:
        print("The program got worse; it is kept apart, and not offered.", file=sys.stderr)
    print(f"Wrote {out}; the candidates are in {options.folder}.", file=sys.stderr)
    if stopped:
        print("The search was stopped; this is the best so far. --resume continues the search.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _summary(run: Run) -> str:
    significant = "significant" if run.gain.low > 0 else "not significant"
    return (
        f"before {run.before}  after {run.after}  gain {run.gain}, {significant}  "
        f"({run.sets.test} test examples, {run.answers:,} answers, {run.seconds / 60:.1f} min)"
    )
