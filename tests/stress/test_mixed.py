"""Must show of issue 22: 500 mixed jobs where two of three models fit."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.processes import kill_all
from tests.stress.mixed import mixed_jobs

COUNT = 500


def test_two_of_three_models_fit(home: Path, tmp_path: Path) -> None:
    try:
        found = mixed_jobs(tmp_path, COUNT)
    finally:
        kill_all(home)
    assert found.problems == []
    assert found.done == found.jobs
    assert found.most == 2
    assert 3 <= found.loads < found.exclusive
