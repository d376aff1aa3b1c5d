"""Every event survives the wire; a subscriber loses nothing and sees nothing twice, whatever happens."""

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
from app.runtime import Runtime
from core.bus import Bus
from core.events import (
    Event,
    Fleeting,
    JobChanged,
    Lasting,
    LoadProgress,
    Snapshot,
    StateChanged,
    WorkerUp,
    decode,
    decode_snapshot,
    encode,
)
from core.paths import find_paths
from core.settings import load_settings
from tests.waiting import happening

TEXT = st.text(st.characters(codec="utf-8"))
KINDS = (*get_args(Lasting), *get_args(Fleeting))
st.register_type_strategy(str, TEXT)
st.register_type_strategy(float, st.floats(allow_nan=False))
EVENTS = st.one_of([st.builds(kind) for kind in KINDS])


def change(seq: int) -> StateChanged:
    return StateChanged(seq, "empty", "loading", "load", "instruct", "m", "", 1.0)


def publish(bus: Bus, seq: int) -> None:
    bus.publish(change(seq), Snapshot(seq=seq, phase="loading"))


@given(event=EVENTS)
def test_every_event_survives_the_wire(event: Event) -> None:
    assert decode(encode(event)) == event
    assert set(get_args(Event)) == set(KINDS)


@given(event=EVENTS, fields=st.dictionaries(TEXT.map("x_".__add__), TEXT))
def test_unknown_fields_are_ignored(event: Event, fields: dict[str, str]) -> None:
    assert decode(json.dumps({**json.loads(encode(event)), **fields})) == event


@given(snapshot=st.builds(Snapshot))
def test_the_snapshot_survives_the_wire(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode(snapshot)) == snapshot
    assert decode_snapshot(None) == Snapshot()


@given(kind=st.text().filter(lambda kind: kind not in {each.__name__ for each in KINDS}))
def test_unknown_kinds_are_skipped(kind: str) -> None:
    assert decode(json.dumps({"kind": kind, "seq": 1})) is None


@given(reason=st.text(st.characters()))
def test_whatever_a_reason_holds_can_be_sent(reason: str) -> None:
    encode(StateChanged(1, "empty", "loading", "load", "instruct", "m", reason, 1.0)).encode()


def test_unknown_kinds_on_the_wire(client: Client) -> None:
    events = happening(client.bus)
    assert isinstance(next(events), Snapshot)
    client.redis.xadd("charlie:transitions", {"event": '{"kind": "Eclipse", "of": "the moon"}'})
    publish(client.bus, 1)
    assert next(events).__class__ is StateChanged
    assert len(client.bus.history()) == 1


def test_a_late_subscriber(client: Client) -> None:
    """The snapshot, then only what is new."""
    for seq in (1, 2, 3):
        publish(client.bus, seq)
    events = happening(client.bus)
    snapshot = next(events)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.seq == 3
    publish(client.bus, 4)
    event = next(events)
    assert isinstance(event, StateChanged)
    assert event.seq == 4


def test_a_subscriber_that_wants_the_past(client: Client) -> None:
    for seq in range(1, 6):
        publish(client.bus, seq)
    client.bus.publish(JobChanged("a", "warm", "queued"))
    client.bus.publish(LoadProgress("instruct", "m", 0.5))
    events = happening(client.bus, past=3)
    assert isinstance(next(events), Snapshot)
    seen = [next(events) for _ in range(3)]
    assert [event.seq if isinstance(event, StateChanged) else event for event in seen][:2] == [4, 5]
    assert isinstance(seen[2], JobChanged)


@pytest.mark.parametrize("past", [0, 5])
def test_subscribing_while_much_happens(client: Client, past: int) -> None:
    """No subscriber sees anything twice, or anything that its snapshot holds already."""
    ended = threading.Event()

    def publish_all() -> None:
        seq = 0
        while not ended.is_set():
            seq += 1
            publish(client.bus, seq)

    publisher = threading.Thread(target=publish_all)
    publisher.start()
    try:
        for _ in range(60):
            events = happening(client.bus, past=past)
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
        publisher.join()


def test_following_survives_kill_9(home: Path) -> None:
    """A writer that goes on, and a reader that waits: nothing is lost, and nothing comes twice."""
    client, other = Client(load_settings(), find_paths()), Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as running:
        server = running._server
        assert server is not None
        events = happening(other.bus)
        assert isinstance(next(events), Snapshot)
        seen: list[int] = []

        def read() -> None:
            while len(seen) < 60:
                if isinstance(event := next(events), StateChanged):
                    seen.append(event.seq)

        reader = threading.Thread(target=read)
        reader.start()
        for seq in range(1, 61):
            publish(client.bus, seq)
            if seq % 20 == 0:
                server.process.kill()
                server.process.wait()
                server.restart()
        reader.join()
        assert seen == list(range(1, 61))
        assert client.snapshot().seq == 60
        other.close()


def test_history(client: Client) -> None:
    """Transitions and jobs in the order they happened; progress is not kept."""
    client.bus.publish(WorkerUp(1), Snapshot(worker_pid=1))
    client.bus.publish(JobChanged("a", "warm", "queued"))
    publish(client.bus, 1)
    client.bus.publish(JobChanged("a", "warm", "done"))
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


def test_amending_is_no_event(client: Client) -> None:
    publish(client.bus, 1)
    client.bus.amend(Snapshot(seq=1, phase="loading", keep_alive_until=5.0))
    assert client.snapshot().keep_alive_until == 5.0
    assert len(client.bus.history()) == 1
