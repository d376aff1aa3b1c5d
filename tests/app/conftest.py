"""The application over a real database, and waiting for what it shows."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from app.client import Client
from app.tui.app import CharlieApp

PATIENCE = 10.0
"""Seconds until a test that waits for something to be seen gives up."""

Until = Callable[[Pilot[None], Callable[[], bool]], Awaitable[None]]


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
