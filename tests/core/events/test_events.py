"""Every event survives encoding; a subscriber gets each event once, also across a restart of the database."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client import Client
from app.runtime.owner import Runtime
from core.events.bus import Bus
from core.events.types import (
    Event,
    Fleeting,
    JobChanged,
    JobKind,
    JobState,
    Lasting,
    LoadProgress,
    Phase,
    Snapshot,
    StateChanged,
    WorkerUp,
)
from core.events.wire import decode, decode_known, encode
from core.paths import find_paths
from core.settings_file import load_settings
from tests.waiting import follow_events, join

TEXT = st.text(st.characters(codec="utf-8"))
KINDS = (*get_args(Lasting), *get_args(Fleeting))
st.register_type_strategy(str, TEXT)
st.register_type_strategy(float, st.floats(allow_nan=False))
EVENTS = st.one_of([st.builds(kind) for kind in KINDS])


def change(seq: int) -> StateChanged:
    return StateChanged(seq, Phase.EMPTY, Phase.LOADING, "load", "instruct", "m", "", 1.0)


def publish(bus: Bus, seq: int) -> None:
    bus.publish(change(seq), Snapshot(seq=seq, phase=Phase.LOADING))


@given(event=EVENTS)
def test_every_event_survives_encoding(event: Event) -> None:
    assert decode(encode(event)) == event
    assert set(get_args(Event)) == set(KINDS)


@given(event=EVENTS, fields=st.dictionaries(TEXT.map("x_".__add__), TEXT))
def test_unknown_fields_are_ignored(event: Event, fields: dict[str, str]) -> None:
    assert decode(json.dumps({**json.loads(encode(event)), **fields})) == event


@given(snapshot=st.builds(Snapshot))
def test_the_snapshot_survives_encoding(snapshot: Snapshot) -> None:
    assert decode_known(Snapshot, encode(snapshot)) == snapshot
    assert decode_known(Snapshot, None) is None


@given(kind=st.text().filter(lambda kind: kind not in {each.__name__ for each in KINDS}))
def test_unknown_kinds_decode_to_none(kind: str) -> None:
    assert decode(json.dumps({"kind": kind, "seq": 1})) is None


@given(reason=st.text(st.characters()))
def test_any_reason_can_be_encoded(reason: str) -> None:
    encode(StateChanged(1, Phase.EMPTY, Phase.LOADING, "load", "instruct", "m", reason, 1.0)).encode()


def test_a_subscriber_skips_unknown_kinds(client: Client) -> None:
    events = follow_events(client.bus)
    assert isinstance(next(events), Snapshot)
    client.redis.xadd("charlie:transitions", {"event": '{"kind": "Eclipse", "of": "the moon"}'})
    publish(client.bus, 1)
    assert next(events).__class__ is StateChanged
    assert len(client.bus.history()) == 1


def test_a_late_subscriber_gets_the_snapshot_and_then_only_new_events(client: Client) -> None:
    for seq in (1, 2, 3):
        publish(client.bus, seq)
    events = follow_events(client.bus)
    snapshot = next(events)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.seq == 3
    publish(client.bus, 4)
    event = next(events)
    assert isinstance(event, StateChanged)
    assert event.seq == 4


def test_a_subscriber_may_ask_for_past_events(client: Client) -> None:
    for seq in range(1, 6):
        publish(client.bus, seq)
    client.bus.publish(JobChanged("a", JobKind.WARM, JobState.QUEUED))
    client.bus.publish(LoadProgress("instruct", "m", 0.5))
    events = follow_events(client.bus, past=3)
    assert isinstance(next(events), Snapshot)
    seen = [next(events) for _ in range(3)]
    assert [event.seq if isinstance(event, StateChanged) else event for event in seen][:2] == [4, 5]
    assert isinstance(seen[2], JobChanged)


@pytest.mark.parametrize("past", [0, 5])
def test_subscribing_during_many_events(client: Client, past: int) -> None:
    """No event comes twice, and none that the snapshot already includes."""
    ended = threading.Event()

    def publish_all() -> None:
        seq = 0
        while not ended.is_set():
            seq += 1
            publish(client.bus, seq)

    publisher = threading.Thread(target=publish_all, daemon=True)
    publisher.start()
    try:
        for _ in range(60):
            events = follow_events(client.bus, past=past)
            snapshot = next(events)
            assert isinstance(snapshot, Snapshot)
            seqs = []
            for _ in range(past + 3):
                event = next(events)
                assert isinstance(event, StateChanged)
                seqs.append(event.seq)
            assert all(after == before + 1 for before, after in pairwise(seqs)), (snapshot.seq, seqs)
            if not past:
                assert seqs[0] == snapshot.seq + 1
    finally:
        ended.set()
        join(publisher)


def test_following_survives_a_killed_database(home: Path) -> None:
    """The reader waits while the writer continues; each event comes once."""
    client, other = Client(load_settings(), find_paths()), Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as running:
        server = running._server
        assert server is not None
        events = follow_events(other.bus)
        assert isinstance(next(events), Snapshot)
        seen: list[int] = []

        def read() -> None:
            while len(seen) < 60:
                if isinstance(event := next(events), StateChanged):
                    seen.append(event.seq)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        for seq in range(1, 61):
            publish(client.bus, seq)
            if seq % 20 == 0:
                server.process.kill()
                server.process.wait(20)
                server.restart()
        join(reader)
        assert seen == list(range(1, 61))
        assert client.snapshot().seq == 60
        other.close()


def test_history_has_transitions_and_jobs_in_order(client: Client) -> None:
    """Progress is not kept."""
    client.bus.publish(WorkerUp(1), Snapshot(worker_pid=1))
    client.bus.publish(JobChanged("a", JobKind.WARM, JobState.QUEUED))
    publish(client.bus, 1)
    client.bus.publish(JobChanged("a", JobKind.WARM, JobState.DONE))
    assert [type(event).__name__ for event in client.bus.history()] == [
        "WorkerUp", "JobChanged", "StateChanged", "JobChanged",
    ]  # fmt: skip
    assert [type(event).__name__ for event in client.bus.history(2)] == ["StateChanged", "JobChanged"]
    assert [type(event).__name__ for event in client.bus.transitions(5)] == ["StateChanged", "WorkerUp"]


def test_progress_does_not_push_the_history_out(client: Client) -> None:
    publish(client.bus, 1)
    with client.redis.pipeline() as pipe:
        many = Bus(pipe)
        for _ in range(20_000):
            many.publish(LoadProgress("instruct", "m", 0.5))
        pipe.execute()
    assert client.redis.xlen("charlie:live") < 1000
    assert len(client.bus.history()) == 1


def test_amending_the_snapshot_publishes_no_event(client: Client) -> None:
    publish(client.bus, 1)
    client.bus.amend(Snapshot(seq=1, phase=Phase.LOADING, policy="fitting"))
    assert client.snapshot().policy == "fitting"
    assert len(client.bus.history()) == 1
