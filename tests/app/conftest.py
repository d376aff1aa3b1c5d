"""A real database on a folder of its own, and the application over it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from app.client import Client
from app.runtime import Runtime
from app.tui import CharlieApp
from core.paths import find_paths
from core.settings import load_settings

PATIENCE = 10.0
"""Seconds until a test that waits for something to be seen gives up."""

Until = Callable[[Pilot[None], Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CHARLIE_HOME on an empty folder, and times shown in UTC."""
    monkeypatch.setenv("CHARLIE_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return tmp_path


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    """A client of a real redis-server; nobody works on what is enqueued."""
    made = Client(load_settings(), find_paths())
    with Runtime(made, worker=False):
        yield made


@pytest.fixture
def app(client: Client) -> CharlieApp:
    return CharlieApp(client)


@pytest.fixture
def until() -> Until:
    """Wait until something is seen: each round lets the application handle what it was sent."""

    async def wait(pilot: Pilot[None], seen: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not seen():
            assert time.monotonic() < deadline, "what was waited for did not come"
            await pilot.pause(0.01)

    return wait
