from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.client import Client
from core.settings_file import SettingsFile
from states.manager import ModelManager


@pytest.fixture
def exclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one model is loaded."""
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "exclusive")


@pytest.fixture
def manager(client: Client) -> Iterator[ModelManager]:
    """A manager with real models, in this process; its events go to a real database."""
    made = ModelManager(SettingsFile(), client.paths, client.bus)
    yield made
    made.unload_all("the test ends")
