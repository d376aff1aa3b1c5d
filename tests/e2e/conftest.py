"""A new home for real processes; when a test ends, none may be left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import kill_all


@pytest.fixture
def home(home: Path) -> Iterator[Path]:
    yield home
    assert not kill_all(home)
