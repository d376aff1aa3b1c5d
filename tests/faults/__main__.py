"""Provokes every fault on real processes and prints what came of it: `python -m tests.faults [part of a name ...]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from core import starter
from core.settings import Role
from tests.faults.outcome import Fault, Outcome
from tests.faults.provoke import FAULTS, provoke
from tests.model_files import write_slow


def attempt(fault: Fault, folder: Path, starters: dict[Role, Path], slow: Path) -> Outcome:
    """A fault that cannot even be provoked, or from which nothing recovers, is a row of the table too."""
    try:
        return provoke(fault, folder, starters, slow)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # the others are still worth provoking
        return Outcome("", 0.0, missed=(f"{type(error).__name__}: {error}".replace("\n", " "),))


def row(name: str, found: Outcome) -> str:
    lost = (
        f"{found.jobs_lost} jobs, {found.entries_lost} entries" if found.jobs_lost or found.entries_lost else "nothing"
    )
    cells = [name, found.saw or "–", lost, f"{found.usable:.1f}", ", ".join(found.left) or "none"]
    missed = f"  MISSED: {'; '.join(found.missed)}" if found.missed else ""
    return f"| {' | '.join(cells)} |{missed}"


def main() -> int:
    wanted = [fault for fault in FAULTS if not sys.argv[1:] or any(part in fault.name for part in sys.argv[1:])]
    print("| fault | what the user saw | lost | usable again after (s) | processes left |\n|---|---|---|---|---|")
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        starters, slow = {role: starter.path_of(role) for role in Role}, write_slow(folder / "slow.gguf")
        for number, fault in enumerate(wanted):
            found = attempt(fault, folder / str(number), starters, slow)
            outcomes.append(found)
            print(row(fault.name, found), flush=True)
    print(
        f"\nFaults provoked: {len(outcomes)}. Jobs lost: {sum(each.jobs_lost for each in outcomes)}. "
        f"Entries lost: {sum(each.entries_lost for each in outcomes)}. "
        f"Orphans: {sum(len(each.left) for each in outcomes)}. "
        f"Limits missed: {sum(len(each.missed) for each in outcomes)}. "
        f"Bad inputs tried: {sum(each.inputs for each in outcomes):,}."
    )
    return 0 if all(each.good for each in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
