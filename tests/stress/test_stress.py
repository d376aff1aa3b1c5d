"""The short form; `python -m tests.stress` runs ten minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.processes import kill_all
from tests.stress.__main__ import problems, table
from tests.stress.run import stress


@pytest.mark.slow
def test_what_was_saved_is_kept_and_what_was_removed_is_gone(home: Path) -> None:
    try:
        found = stress(home, 20.0)
    finally:
        kill_all(home)
    assert found.good, f"{table(found)}\n{problems(found)}"
