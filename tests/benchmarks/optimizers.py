"""Gain of each optimizer for each program on the bundled model.

`python -m tests.benchmarks.optimizers [--budget 300] [--write]` runs them one after another, each in its own
process; `--write` updates their section of README.md in this folder.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from core.programs.saved import Run, Score, read_program
from optimizers.methods import Method

HERE = Path(__file__).parent
README = HERE / "README.md"
SECTION = re.compile(r"(<!-- optimizers -->\n).*(<!-- /optimizers -->)", re.DOTALL)
PROGRAMS = ("mood", "title", "recall", "reflection")
HEAD = """\
| program | optimizer | before | after | gain | significant | model calls | minutes |
|---|---|---:|---:|---:|---|---:|---:|"""


def run(program: str, method: Method, budget: int) -> Run:
    """One optimization with a new CHARLIE_HOME and no configured model, so the bundled one answers."""
    with TemporaryDirectory() as home:
        out = Path(home) / "found.json"
        script = HERE.parents[1] / "optimizers" / f"optimize_{program}.py"
        subprocess.run(
            [sys.executable, str(script), "--optimizer", method, "--budget", str(budget), "--out", str(out)],
            env=os.environ | {"CHARLIE_HOME": home}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return read_program(out).run


def row(found: Run) -> str:
    significant = "yes" if found.gain.low > 0 else "no"
    cells = (
        found.program, found.optimizer, shown(found.before), shown(found.after), shown(found.gain), significant,
        f"{found.answers:,}", f"{found.seconds / 60:.1f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def shown(score: Score) -> str:
    return f"{score.mean:.1f} [{score.low:.1f}, {score.high:.1f}]"


def update_readme(table: str) -> None:
    README.write_text(SECTION.sub(lambda found: f"{found[1]}{table}\n{found[2]}", README.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=300, help="answers that each search may use, approximately")
    parser.add_argument("--write", action="store_true", help="update the README")
    parsed = parser.parse_args()
    lines = [HEAD]
    print(HEAD, flush=True)
    for program in PROGRAMS:
        for method in Method:
            lines.append(row(run(program, method, parsed.budget)))
            print(lines[-1], flush=True)
            if parsed.write:  # after each run: all of them take half an hour or more
                update_readme("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
