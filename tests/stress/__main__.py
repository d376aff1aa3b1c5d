"""Everything at once for ten minutes, with three kill -9: `python -m tests.stress [--minutes 10]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import settle
from tests.e2e.processes import kill_all
from tests.stress.run import Report, stress
from tests.tiny_models import stand_in


def table(found: Report) -> str:
    rows = [(kind, f"{count:,}") for kind, count in found.done.items()]
    rows += [
        ("operations", f"{sum(found.done.values()):,}"),
        (f"kill -9 ({', '.join(found.kills)})", str(len(found.kills))),
        ("seconds", f"{found.seconds:.0f}"),
        ("texts that were said to be saved", f"{found.saved:,}"),
        ("texts that left the trash", f"{found.removed:,}"),
        ("records with 20 revisions", str(found.full)),
        ("lost", str(len(found.lost))),
        ("found in files", str(sum(map(len, found.in_files.values())))),
    ]
    return "\n".join(["| what | number |", "|---|---|", *(f"| {name} | {number} |" for name, number in rows)])


def problems(found: Report) -> str:
    lines = [f"lost: {word}, saved by {who}" for word, who in found.lost.items()]
    lines += [
        f"in {path}: {', '.join(sorted(words)[:5])}, {len(words)} in all" for path, words in found.in_files.items()
    ]
    return "\n".join([*lines, *found.problems])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress")
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    stand_in()
    with tempfile.TemporaryDirectory(prefix="stress-") as name, pytest.MonkeyPatch.context() as patch:
        home = settle(Path(name) / "home", patch)
        home.mkdir()
        try:
            found = stress(home, minutes * 60)
        finally:
            kill_all(home)
    print(table(found))
    if not found.good:
        print(problems(found), file=sys.stderr)
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
