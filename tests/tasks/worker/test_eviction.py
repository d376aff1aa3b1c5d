"""Idle eviction on a real worker: the exact transitions, and the reasons that keep a model warm."""

from __future__ import annotations

import pytest
from psutil import virtual_memory

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import JobState, Snapshot, StateChanged
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tests.states.walks import changes, state_changes, steps
from tests.waiting import ended, first, follow_events

WARMED = ["load embedding", "loaded embedding", "unload embedding", "unloaded embedding"]


def warm_and_wait(client: Client) -> StateChanged:
    events = follow_events(client.bus)
    assert isinstance(next(events), Snapshot)
    assert ended(client.jobs, client.warm(Role.EMBEDDING).id).state is JobState.DONE
    last = first(events, lambda event: isinstance(event, StateChanged) and event.trigger == "unloaded")
    assert isinstance(last, StateChanged)
    return last


@pytest.mark.parametrize(("keep_alive", "reason"), [("0", "keep_alive is 0"), ("0.5", "idle for ")])
def test_an_idle_model_is_evicted_after_keep_alive(
    home: object, monkeypatch: pytest.MonkeyPatch, keep_alive: str, reason: str
) -> None:
    monkeypatch.setenv("CHARLIE_KEEP_ALIVE", keep_alive)
    client = Client(load_settings(), find_paths())
    with Runtime(client):
        last = warm_and_wait(client)
        assert last.reason.startswith(reason)
        assert steps(changes(client.bus)) == WARMED
        warm_and_wait(client)
        assert steps(changes(client.bus)) == [*WARMED, *WARMED]
        assert client.snapshot().phase == "empty"


def test_keep_alive_0_keeps_the_model_for_waiting_jobs(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLIE_KEEP_ALIVE", "0")
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as running:
        events = follow_events(client.bus)
        assert isinstance(next(events), Snapshot)
        for _ in range(5):
            client.warm(Role.EMBEDDING)
        running._start_worker()
        first(events, lambda event: isinstance(event, StateChanged) and event.trigger == "unloaded")
        assert client.queue() == []
        assert steps(changes(client.bus)) == WARMED


def test_a_negative_keep_alive_never_evicts(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLIE_KEEP_ALIVE", "-1")
    client = Client(load_settings(), find_paths())
    with Runtime(client):
        ended(client.jobs, client.warm(Role.EMBEDDING).id)
        assert ended(client.jobs, client.warm(Role.EMBEDDING).id).state is JobState.DONE
        assert [each.kept_until for each in client.snapshot().warm] == [None]
        assert client._queue.storage.schedule_size() == 0
        assert [event.to for event in state_changes(client.bus)] == ["loading", "warm"]


def test_eviction_uses_the_last_good_settings(home: object) -> None:
    client = Client(load_settings(), find_paths())
    client.paths.make()
    client.paths.config_file.write_text("keep_alive = 1.5\n")
    with Runtime(client):
        events = follow_events(client.bus)
        assert isinstance(next(events), Snapshot)
        ended(client.jobs, client.warm(Role.EMBEDDING).id)
        broken = client.paths.config_file.with_suffix(".new")
        broken.write_text("keep_alive = = 1.5\n")
        broken.rename(client.paths.config_file)  # atomic: an empty file would mean the default keep_alive for a moment
        last = first(events, lambda event: isinstance(event, StateChanged) and event.trigger == "unloaded")
        assert isinstance(last, StateChanged)
        assert last.reason.startswith("idle for ")
        assert ended(client.jobs, client.warm(Role.EMBEDDING).id).state is JobState.FAILED
        client.paths.config_file.unlink()
        assert ended(client.jobs, client.warm(Role.EMBEDDING).id).state is JobState.DONE


def test_memory_pressure_evicts_an_idle_model(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """With real readings: the reserve is set above all free memory."""
    monkeypatch.setenv("CHARLIE_KEEP_ALIVE", "-1")
    client = Client(load_settings(), find_paths())
    with Runtime(client):
        events = follow_events(client.bus)
        assert isinstance(next(events), Snapshot)
        ended(client.jobs, client.warm(Role.EMBEDDING).id)
        client.paths.config_file.write_text(f"[memory]\nram_reserve = {2 * virtual_memory().total}\n")
        last = first(events, lambda event: isinstance(event, StateChanged) and event.trigger == "unloaded")
        assert isinstance(last, StateChanged)
        assert last.reason.startswith("free memory fell under the reserve (")
        assert client.snapshot().reason == last.reason
        assert steps(changes(client.bus)) == WARMED
        refused = ended(client.jobs, client.warm(Role.EMBEDDING).id)
        assert refused.state is JobState.FAILED
        assert "tiny-embedding does not fit" in refused.error
        client.paths.config_file.unlink()
        assert ended(client.jobs, client.warm(Role.EMBEDDING).id).state is JobState.DONE
