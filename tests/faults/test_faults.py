"""The quick ones of the faults; `make faults` provokes them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import Role
from tests.faults.outcome import Fault
from tests.faults.provoke import FAULTS, provoke
from tests.model_files import write_slow


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slow(tmp_path_factory.mktemp("slow") / "slow.gguf")


@pytest.mark.parametrize("fault", [each for each in FAULTS if each.quick], ids=lambda fault: fault.name)
def test_nothing_is_lost_and_nothing_is_left(
    fault: Fault, tmp_path: Path, starters: dict[Role, Path], slow: Path
) -> None:
    found = provoke(fault, tmp_path, starters, slow)
    assert found.good, found
