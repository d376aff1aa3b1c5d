"""Provokes every fault on real processes and prints the outcomes: `python -m tests.faults [part of a name ...]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from core.roles import Role
from tests.faults.outcome import Fault, Outcome
from tests.faults.provoke import FAULTS, provoke
from tests.model_files import write_slow
from tests.tiny_models import stand_in, tiny_models
from tests.waiting import time_limit

LIMIT_SECONDS = 300.0
"""The longest fault takes half a minute; one that takes longer than this is stopped."""


def attempt(fault: Fault, folder: Path, tiny: dict[Role, Path], slow: Path) -> Outcome:
    """Provokes one fault; an exception becomes a row of the table."""
    try:
        with time_limit(LIMIT_SECONDS):
            return provoke(fault, folder, tiny, slow)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # the other faults still run
        return Outcome("", 0.0, missed=(f"{type(error).__name__}: {error}".replace("\n", " "),))


def row(name: str, found: Outcome) -> str:
    lost = (
        f"{found.jobs_lost} jobs, {found.entries_lost} entries" if found.jobs_lost or found.entries_lost else "nothing"
    )
    cells = [name, found.saw or "–", lost, f"{found.usable:.1f}", ", ".join(found.left) or "none"]
    missed = f"  MISSED: {'; '.join(found.missed)}" if found.missed else ""
    return f"| {' | '.join(cells)} |{missed}"


def main() -> int:
    parts = sys.argv[1:]
    if unknown := [part for part in parts if not any(part in fault.name for fault in FAULTS)]:
        print(f"No fault has {' or '.join(map(repr, unknown))} in its name. The faults are:", file=sys.stderr)
        print(*(f"  {fault.name}" for fault in FAULTS), sep="\n", file=sys.stderr)
        return 2
    wanted = [fault for fault in FAULTS if not parts or any(part in fault.name for part in parts)]
    print("| fault | what the user saw | lost | usable again after (s) | processes left |\n|---|---|---|---|---|")
    outcomes = []
    stand_in()
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        tiny, slow = tiny_models(), write_slow(folder / "slow.gguf")
        bad = []
        for number, fault in enumerate(wanted):
            found = attempt(fault, folder / str(number), tiny, slow)
            if found.only_slow:
                print(row(f"{fault.name} (once more, since it was slow)", found), flush=True)
                found = attempt(fault, folder / f"{number}-again", tiny, slow)
            outcomes.append(found)
            print(row(fault.name, found), flush=True)
            bad += [] if found.good else [row(fault.name, found)]
    print(
        f"\nFaults provoked: {len(outcomes)}. Jobs lost: {sum(each.jobs_lost for each in outcomes)}. "
        f"Entries lost: {sum(each.entries_lost for each in outcomes)}. "
        f"Orphans: {sum(len(each.left) for each in outcomes)}. "
        f"Limits missed: {sum(len(each.missed) for each in outcomes)}. "
        f"Bad inputs tried: {sum(each.inputs for each in outcomes):,}."
    )
    for each in bad:  # again, beside what `make` says of it
        print(each)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
