"""Provokes the quick faults; `make faults` provokes all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core.roles import Role
from tests.faults.__main__ import main
from tests.faults.outcome import Fault
from tests.faults.provoke import FAULTS, provoke
from tests.model_files import write_slow


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slow(tmp_path_factory.mktemp("slow") / "slow.gguf")


@pytest.mark.parametrize("fault", [each for each in FAULTS if each.quick], ids=lambda fault: fault.name)
def test_after_a_fault_nothing_is_lost_and_no_process_is_left(
    fault: Fault, tmp_path: Path, tiny: dict[Role, Path], slow: Path
) -> None:
    found = provoke(fault, tmp_path, tiny, slow)
    assert found.good, found


def test_an_unknown_fault_is_refused_with_a_list_of_the_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["faults", FAULTS[0].name, "no such row"])
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("No fault has 'no such row' in its name.")
    assert printed.err.splitlines()[1:] == [f"  {fault.name}" for fault in FAULTS]
