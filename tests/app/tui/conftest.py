"""A home that is no first start, on a machine of known speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.tui.chat.first_run import CLOSED
from core.paths import find_paths
from tests.rates import write_rates


@pytest.fixture
def home(home: Path) -> Path:
    found = find_paths()
    found.make()
    (found.data / CLOSED).touch()
    write_rates(found)
    return home
