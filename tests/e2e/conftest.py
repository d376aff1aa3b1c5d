"""A home of its own for real processes, of which none may be left when a test ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import kill_all


@pytest.fixture
def home(home: Path) -> Iterator[Path]:
    yield home
    assert not kill_all(home)
