"""Idle eviction on a real worker: the exact transitions, and the reasons that keep a model warm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psutil import virtual_memory

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import Event, JobChanged, JobKind, JobState, Snapshot, StateChanged
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tests.states.walks import changes, state_changes, steps
from tests.waiting import ended, first, follow_events

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def following(client: Client) -> Iterator[Event | Snapshot]:
    """The events from now on."""
    events = follow_events(client.bus)
    assert isinstance(next(events), Snapshot)
    return events


def configure(client: Client, text: str) -> None:
    """Write config.toml at once: an empty file would mean the defaults for a moment."""
    client.paths.make()
    part = client.paths.config_file.with_suffix(".new")
    part.write_text(text)
    part.rename(client.paths.config_file)


def warm_both(client: Client) -> None:
    for role in (Role.EMBEDDING, Role.INSTRUCT):
        assert ended(client.jobs, client.warm(role).id).state is JobState.DONE


def unloaded(events: Iterator[Event | Snapshot]) -> str | None:
    last = first(events, lambda event: isinstance(event, StateChanged) and event.trigger == "unloaded")
    assert isinstance(last, StateChanged)
    return last.role


def kept(client: Client) -> dict[str, bool]:
    """The warm models, and whether each is kept for good."""
    return {each.role: each.kept_until is None for each in client.snapshot().warm}


def test_each_role_has_its_own_keep_alive(home: object) -> None:
    client = Client(load_settings(), find_paths())
    configure(client, "keep_alive = -1\n[embedding]\nkeep_alive = 0.5\n")
    with Runtime(client):
        events = following(client)
        warm_both(client)
        assert unloaded(events) == "embedding"
        assert (client.snapshot().phase, kept(client)) == ("warm", {"instruct": True})


def test_a_pinned_model_stays_and_an_unpinned_one_goes(home: object) -> None:
    """A change of the settings counts at once, without a job."""
    client = Client(load_settings(), find_paths())
    configure(client, "keep_alive = 1.0\n[embedding]\npinned = true\n")
    with Runtime(client):
        events = following(client)
        warm_both(client)
        assert unloaded(events) == "instruct"
        assert kept(client) == {"embedding": True}
        assert client.snapshot().warm[0].pinned
        configure(client, "keep_alive = 1.0\n")
        assert unloaded(events) == "embedding"


def test_keep_alive_0_keeps_what_the_next_job_needs(home: object) -> None:
    client = Client(load_settings(), find_paths())
    configure(client, "keep_alive = 0\n")
    with Runtime(client, worker=False) as running:
        for role in (Role.EMBEDDING, Role.INSTRUCT, Role.INSTRUCT):
            client.warm(role)
        client.plan(Role.EMBEDDING)
        last = client.warm(Role.INSTRUCT)
        events = following(client)
        running._start_worker()
        ended(client.jobs, last.id)
        assert [unloaded(events), unloaded(events)] == ["embedding", "instruct"]
        assert steps(changes(client.bus)) == [
            "load embedding", "loaded embedding", "unload embedding", "unloaded embedding",
            "load instruct", "loaded instruct", "unload instruct", "unloaded instruct",
        ]  # fmt: skip


def test_a_model_is_preloaded_through_the_queue(home: object) -> None:
    client = Client(load_settings(), find_paths())
    configure(client, "[embedding]\npreload = true\n")
    with Runtime(client, worker=False) as running:
        before = client.warm(Role.INSTRUCT)
        events = following(client)
        running._start_worker()
        done = first(
            events, lambda event: isinstance(event, JobChanged) and event.state == "done" and event.id != before.id
        )
        assert isinstance(done, JobChanged)
        assert (done.job, done.subject) == (JobKind.WARM, "embedding")
        assert steps(changes(client.bus)) == [
            "load instruct", "loaded instruct", "load embedding", "loaded embedding",
        ]  # fmt: skip


def test_a_preload_unloads_no_other_model(home: object) -> None:
    client = Client(load_settings(), find_paths())
    configure(client, '[memory]\npolicy = "exclusive"\n[embedding]\npreload = true\n')
    with Runtime(client, worker=False) as running:
        client.warm(Role.INSTRUCT)
        events = following(client)
        running._start_worker()
        first(
            events,
            lambda event: isinstance(event, JobChanged) and (event.subject, event.state) == ("embedding", "done"),
        )
        assert steps(changes(client.bus)) == ["load instruct", "loaded instruct"]


def test_one_role_is_unloaded_by_hand(home: object) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client):
        warm_both(client)
        for role, found in ((Role.RERANKER, []), (Role.EMBEDDING, ["embedding"]), (None, ["instruct"])):
            result = ended(client.jobs, client.unload(role).id).result
            assert result == {"unloaded": found}
        assert client.snapshot().phase == "empty"
