"""Gain of optimizers for `recall` on the model that comes with Charlie.

`python -m tests.benchmarks.optimizers [--methods …] [--budget 20] [--examples 65] [--write]` runs them one after
another, each in its own process. `--write` updates their section of README.md in this folder, and ships the best
program (core/programs/data) if it gains and its interval lies above the score of the app's own prompt.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dspy

from core.llama.engine import InstructModel, load_as
from core.llama.instruct import Message
from core.model_files.spec import resolve
from core.paths import find_paths
from core.programs.in_use import SHIPPED
from core.programs.prompts import ASK_PROMPT
from core.programs.saved import SavedProgram, Score, read_program, write_program
from core.roles import Role
from core.settings import Sampling
from core.settings_file import load_settings
from optimizers.optimize_recall import TASK
from optimizers.scoring import interval
from optimizers.task import Method, split

HERE = Path(__file__).parent
README = HERE / "README.md"
SECTION = re.compile(r"(<!-- optimizers -->\n).*(<!-- /optimizers -->)", re.DOTALL)
METHODS = (Method.BOOTSTRAP, Method.RANDOM_SEARCH)
MAX_TOKENS = 96
CITED = re.compile(r"\[(\d+)\]\s*")
HEAD = """\
| method | before | after | gain | significant | model calls | minutes |
|---|---:|---:|---:|---|---:|---:|"""


def run(method: Method, budget: int, examples: int) -> SavedProgram:
    """One optimization with a new CHARLIE_HOME."""
    with TemporaryDirectory() as home:
        out = Path(home) / "found.json"
        script = HERE.parents[1] / "optimizers" / "optimize_recall.py"
        limits = ("--budget", str(budget), "--examples", str(examples), "--max-tokens", str(MAX_TOKENS))
        subprocess.run(
            [sys.executable, str(script), "--optimizer", method, "--out", str(out), *limits],
            env=os.environ | {"CHARLIE_HOME": home}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return read_program(next(Path(home).glob("found*.json")))


def row(saved: SavedProgram) -> str:
    found = saved.run
    significant = "yes" if found.gain.low > 0 else "no"
    cells = (
        found.optimizer, shown(found.before), shown(found.after), shown(found.gain), significant,
        f"{found.answers:,}", f"{found.seconds / 60:.1f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def shown(score: Score) -> str:
    return f"{score.mean:.1f} [{score.low:.1f}, {score.high:.1f}]"


def app_prompt(examples: int) -> Score:
    """The score of the prompt that the app uses without a program, on the same test examples."""
    model = load_as(InstructModel, resolve(load_settings(), find_paths(), Role.INSTRUCT))
    sampling = Sampling(temperature=0, max_tokens=MAX_TOKENS)

    def answer(example: Any) -> dspy.Prediction:
        asked = [Message("system", ASK_PROMPT), Message("user", f"{example.entries}\n\nQuestion: {example.question}")]
        prompt = model.fit(asked, MAX_TOKENS)
        reply = "".join(part for part in model.stream(prompt, sampling) if isinstance(part, str))
        return dspy.Prediction(answer=CITED.sub("", reply), citations=[int(number) for number in CITED.findall(reply)])

    try:
        return interval([TASK.score(each, answer(each)) for each in split(TASK, seed=0, most=examples).test])
    finally:
        model.close()


def ship(found: list[SavedProgram], prompt: Score) -> str:
    """Let the best program be in use by default for its model, if it is better than what the app does without one."""
    best = max(found, key=lambda saved: saved.run.after.mean)
    if best.run.gain.low <= 0 or best.run.after.low <= prompt.mean:
        return "None gains enough to be shipped."
    name = best.run.model.split("-", 2)[2]  # after the hashes of file and template
    write_program(SHIPPED / f"recall-{name}.json", best)
    return f"Shipped, and in use by default: {best.run.optimizer}."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", type=Method, nargs="+", default=METHODS, help="the optimizers")
    parser.add_argument("--budget", type=int, default=20, help="training examples that each search may try")
    parser.add_argument("--examples", type=int, default=65, help="of the labelled questions")
    parser.add_argument("--write", action="store_true", help="update the README, and ship the best program")
    parsed = parser.parse_args()
    print(HEAD, flush=True)
    found = []
    for method in parsed.methods:
        found.append(run(method, parsed.budget, parsed.examples))
        print(row(found[-1]), flush=True)
    prompt = app_prompt(parsed.examples)
    lines = [HEAD, *map(row, found), "", f"The app's own prompt, on the same questions: {shown(prompt)}."]
    if parsed.write:
        lines.append(ship(found, prompt))
        table = "\n".join(lines)
        README.write_text(SECTION.sub(lambda part: f"{part[1]}{table}\n{part[2]}", README.read_text()))
    print("\n".join(lines[-2:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
