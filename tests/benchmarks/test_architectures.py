"""One row of the architectures' table; the figures of speed mean nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.architectures import CORRELATION, off, write


@pytest.mark.slow
def test_a_row_has_all_figures_and_its_memory_is_predicted(tmp_path: Path) -> None:
    file = write("lfm2", tmp_path)
    command = [sys.executable, "-m", "tests.benchmarks.architectures", "--one", "lfm2", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert off(found, "predicted")[1], found
    assert off(found, "formula")[1], found
    assert found["right"] >= CORRELATION
    assert found["turn"] > 0.9
    assert found["speed"] > 0
