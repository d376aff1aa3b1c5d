"""What is published, and when: a swap does not wait for the database, and its events are still sent in order."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Lost

from app.client import Client
from core.events.types import Phase, Receipt, StateChanged, WarmRole, WorkerUp
from core.llama import engine
from core.roles import Role
from core.settings_file import SettingsFile
from states.manager import ModelManager
from tests.states.walks import LOAD, UNLOAD, published, warm
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
    warm(manager, Role.INSTRUCT, Role.EMBEDDING)
    seen = [event for event in client.bus.history() if isinstance(event, Receipt | StateChanged)]
    triggers = [event.trigger if isinstance(event, StateChanged) else "receipt" for event in seen]
    assert triggers == ["load", "loaded", "unload", "unloaded", "receipt", "load", "loaded"]


def test_events_are_published_once_the_database_is_back(
    manager: ModelManager, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, down = manager.announcer._bus.publish, True

    def fails(*args: object) -> None:
        if down:
            raise Lost("gone")
        publish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(manager.announcer._bus, "publish", fails)
    warm(manager, Role.INSTRUCT)
    assert published(client) == []
    down = False
    manager.announcer.publish()
    assert published(client) == LOAD


def test_a_new_worker_continues_the_sequence_numbers(manager: ModelManager, client: Client) -> None:
    manager.announcer.arrive(WorkerUp(4242))
    warm(manager, Role.INSTRUCT)
    assert client.snapshot().worker_pid == 4242
    manager.leave()
    left = client.snapshot()
    assert (left.phase, left.worker_pid, left.seq) == ("empty", None, 4)
    other = ModelManager(SettingsFile(), client.paths, client.bus)
    other.announcer.arrive(WorkerUp(4343))
    warm(other, Role.INSTRUCT)
    other.leave()
    assert published(client) == [*LOAD, *UNLOAD, *LOAD, *UNLOAD]


def test_the_end_of_keep_alive_is_in_the_snapshot_without_an_event(manager: ModelManager, client: Client) -> None:
    manager.announcer.set_kept({Role.INSTRUCT: 5.0})
    assert client.snapshot().warm == ()
    warm(manager, Role.INSTRUCT)
    assert client.snapshot().warm == (WarmRole("instruct", "tiny-instruct"),)
    manager.announcer.set_kept({Role.INSTRUCT: 5.0})
    assert client.snapshot().warm == (WarmRole("instruct", "tiny-instruct", 5.0),)
    assert published(client) == LOAD
    manager.unload_all("asked for")
    assert client.snapshot().warm == ()
