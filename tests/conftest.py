"""Fixtures for all tests: tiny models, a new home, and real processes on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.paths import Paths, find_paths
from core.roles import Role
from core.settings_file import load_settings
from tests.model_files import endless
from tests.tiny_models import stand_in, tiny_models

HERE = Path(__file__).parent
WHOLE_PROGRAMS = ("app/commands/", "e2e/", "faults/", "stress/")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests wait for other processes a third of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_configure() -> None:
    """Removes the developer's settings, for the tests and the programs that they start, which use tiny models."""
    for name in [name for name in os.environ if name.startswith("CHARLIE_")]:
        del os.environ[name]
    stand_in()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of whole commands and programs are slow: each starts several processes."""
    for item in items:
        if item.path.is_relative_to(HERE) and str(item.path.relative_to(HERE)).startswith(WHOLE_PROGRAMS):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def tiny() -> dict[Role, Path]:
    """A tiny model for each role. Copy one before damaging it."""
    return tiny_models()


@pytest.fixture(scope="session")
def talkative(tiny: dict[Role, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings for replies that go on until the context is full, so that a test can interrupt them."""
    file = endless(tiny[Role.INSTRUCT], tmp_path_factory.mktemp("talkative") / "endless.gguf")
    return {"CHARLIE_INSTRUCT__FILE": str(file), "CHARLIE_INSTRUCT__SAMPLING__MAX_TOKENS": "3000"}


def settle(home: Path, patch: pytest.MonkeyPatch) -> Path:
    """Makes `home` the CHARLIE_HOME of this process, with no other setting and times in UTC."""
    for name in [name for name in os.environ if name.startswith("CHARLIE_")]:
        patch.delenv(name)
    patch.setenv("CHARLIE_HOME", str(home))
    patch.setenv("TZ", "UTC")
    time.tzset()
    return home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new folder as CHARLIE_HOME, no other setting, and times in UTC."""
    return settle(tmp_path, monkeypatch)


@pytest.fixture
def paths(home: Path) -> Paths:
    """The paths of `home`, with all folders made."""
    found = find_paths()
    found.make()
    return found


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    """A client of a real redis-server, without a worker: jobs stay in the queue."""
    made = Client(load_settings(), find_paths())
    with Runtime(made, worker=False):
        yield made


@pytest.fixture
def runtime(home: Path) -> Iterator[tuple[Runtime, Client]]:
    """The database and the worker, each a real process."""
    made = Client(load_settings(), find_paths())
    with Runtime(made) as running:
        yield running, made
