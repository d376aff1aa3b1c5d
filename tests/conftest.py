"""What all tests share: the starter models, a home of their own, and real processes on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import Client
from app.runtime import Runtime
from core import starter
from core.paths import Paths, find_paths
from core.settings import Role, load_settings
from tests.model_files import endless


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: the tests wait for other processes for a third of the time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def starters() -> dict[Role, Path]:
    """The three starter files as they are shipped: copy one before damaging it."""
    return {role: starter.path_of(role) for role in Role}


@pytest.fixture(scope="session")
def talkative(starters: dict[Role, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings with which the starter model talks on until its context is full, so that one can come in between."""
    file = endless(starters[Role.INSTRUCT], tmp_path_factory.mktemp("talkative") / "endless.gguf")
    return {"CHARLIE_INSTRUCT__FILE": str(file), "CHARLIE_INSTRUCT__SAMPLING__MAX_TOKENS": "3000"}


def settle(home: Path, patch: pytest.MonkeyPatch) -> Path:
    """Make `home` the CHARLIE_HOME of this process, with no other setting."""
    for name in [name for name in os.environ if name.startswith("CHARLIE_")]:
        patch.delenv(name)
    patch.setenv("CHARLIE_HOME", str(home))
    patch.setenv("TZ", "UTC")
    time.tzset()
    return home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CHARLIE_HOME on a new folder, no other setting, and times in UTC."""
    return settle(tmp_path, monkeypatch)


@pytest.fixture
def paths(home: Path) -> Paths:
    """The paths of `home`, all made."""
    found = find_paths()
    found.make()
    return found


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    """A client of a real redis-server; nobody works on what is enqueued."""
    made = Client(load_settings(), find_paths())
    with Runtime(made, worker=False):
        yield made


@pytest.fixture
def runtime(home: Path) -> Iterator[tuple[Runtime, Client]]:
    """The database and the worker, each a real process."""
    made = Client(load_settings(), find_paths())
    with Runtime(made) as running:
        yield running, made
