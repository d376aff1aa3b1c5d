"""A swap does not wait for the database, and its events are still sent in order."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from app.client import Client
from core.events.types import Phase, Receipt, StateChanged
from core.llama import engine
from core.roles import Role
from states.manager import ModelManager
from tests.waiting import PATIENCE


def test_events_are_sent_beside_the_load_and_by_its_end(
    manager: ModelManager, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here none can be sent before the load has ended."""
    publish, load, loaded = manager.announcer._bus.publish, engine.load, threading.Event()

    def publish_late(*args: Any) -> None:
        assert loaded.wait(PATIENCE)
        publish(*args)

    def load_first(*args: Any, **options: Any) -> engine.Model:
        model = load(*args, **options)
        assert client.bus.history() == []
        loaded.set()
        return model

    monkeypatch.setattr(manager.announcer._bus, "publish", publish_late)
    monkeypatch.setattr("states.manager.engine.load", load_first)
    with manager.lease(Role.INSTRUCT):
        changes = [event for event in client.bus.history() if isinstance(event, StateChanged)]
        assert [change.to for change in changes] == [Phase.LOADING, Phase.WARM]
        assert [change.seq for change in changes] == [1, 2]
        assert client.snapshot() == manager.announcer.snapshot


def test_a_receipt_follows_its_unload(manager: ModelManager, client: Client) -> None:
    client.paths.config_file.write_text('[memory]\npolicy = "exclusive"\n')
    for role in (Role.INSTRUCT, Role.EMBEDDING):
        with manager.lease(role):
            pass
    seen = [event for event in client.bus.history() if isinstance(event, Receipt | StateChanged)]
    triggers = [event.trigger if isinstance(event, StateChanged) else "receipt" for event in seen]
    assert triggers == ["load", "loaded", "unload", "unloaded", "receipt", "load", "loaded"]
