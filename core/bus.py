"""How events travel: through capped streams, so that no reader loses or doubles one.

Transitions and jobs are kept as history. Progress and readings, each soon followed by the next, go through
a stream of their own that keeps only the latest, so they cannot push the history out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.events import (
    Event,
    Heartbeat,
    JobChanged,
    JobProgress,
    Lasting,
    LoadProgress,
    MemoryRead,
    Planned,
    QueueChanged,
    Receipt,
    Snapshot,
    StateChanged,
    WorkerLost,
    WorkerUp,
    decode,
    decode_heartbeat,
    decode_snapshot,
    encode,
)

if TYPE_CHECKING:
    from core.database import RedisClient

log = logging.getLogger(__name__)

SNAPSHOT = "charlie:state"
TRANSITIONS = "charlie:transitions"
JOBS = "charlie:jobs"
LIVE = "charlie:live"
HEARTBEAT = "charlie:heartbeat"
KEPT = 10_000
"""How many events of each lasting stream are kept, about."""
KEPT_LIVE = 200


class Bus:
    """Publishes and follows events over one database. `redis` must decode responses."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self.published = 0
        """How many events went out over this object: a sign that the work goes on."""

    def snapshot(self) -> Snapshot:
        return decode_snapshot(self.redis.get(SNAPSHOT))

    def beat(self, heartbeat: Heartbeat) -> None:
        self.redis.set(HEARTBEAT, encode(heartbeat))

    def heartbeat(self) -> Heartbeat | None:
        """The worker's last sign of life."""
        return decode_heartbeat(self.redis.get(HEARTBEAT))

    def amend(self, snapshot: Snapshot) -> None:
        """Replace the snapshot without an event: the phase is the same, something about it is known better."""
        self.redis.set(SNAPSHOT, encode(snapshot))

    def publish(self, event: Event, snapshot: Snapshot | None = None) -> None:
        """Send one event; with a snapshot, both are written in one MULTI, so nobody sees one without the other."""
        if snapshot is None:
            self.add(self.redis, event)
            return
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.set(SNAPSHOT, encode(snapshot))
            self.add(pipe, event)
            pipe.execute()

    def add(self, pipe: Any, event: Event) -> None:
        """Send one event by a pipeline of the caller's."""
        self.published += 1
        match event:
            case StateChanged() | Planned() | Receipt() | WorkerUp() | WorkerLost():
                stream, kept = TRANSITIONS, KEPT
            case JobChanged():
                stream, kept = JOBS, KEPT
            case LoadProgress() | JobProgress() | QueueChanged() | MemoryRead():
                stream, kept = LIVE, KEPT_LIVE
        pipe.xadd(stream, {"event": encode(event)}, maxlen=kept, approximate=True)

    def history(self, count: int = KEPT) -> list[Lasting]:
        """The last lasting events, oldest first; transitions and jobs in the order they happened."""
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.xrevrange(TRANSITIONS, count=count)
            pipe.xrevrange(JOBS, count=count)
            return _in_order(*pipe.execute())[-count:]

    def transitions(self, count: int) -> list[StateChanged | Receipt | WorkerUp | WorkerLost]:
        """Transitions, receipts and worker events among the last `count` that are not of jobs, newest first."""
        found = (decode(values["event"]) for _, values in self.redis.xrevrange(TRANSITIONS, count=count))
        return [event for event in found if isinstance(event, StateChanged | Receipt | WorkerUp | WorkerLost)]

    def follow(self, stop: Callable[[], bool], *, past: int = 0) -> Iterator[Event | Snapshot | None]:
        """The snapshot first, then `past` lasting events, then all that happens, until `stop()`.

        Yields None about five times a second while nothing happens. Survives a database that goes and
        comes back: it continues from the last ids and yields the snapshot again.
        """
        from redis.exceptions import ConnectionError as Lost
        from redis.exceptions import TimeoutError as Late

        from core.database import impatient

        reader = Bus(impatient(self.redis))
        try:
            positions: dict[str, str] | None = None
            told = False
            while not stop():
                try:
                    if positions is None:
                        positions, snapshot, history = reader._begin(past)
                        yield snapshot
                        yield from history
                    else:
                        yield reader.snapshot()
                    told = False
                    yield from reader._read(stop, positions)
                except (Lost, Late) as error:
                    if not told:
                        log.warning("The database does not answer; trying again. %s", error)
                    told = True
                    time.sleep(0.1)
                    yield None
        finally:
            reader.redis.connection_pool.disconnect()

    def _begin(self, past: int) -> tuple[dict[str, str], Snapshot, list[Lasting]]:
        """Where to read on from, the snapshot of that very moment, and the last `past` lasting events until then."""
        names = (TRANSITIONS, JOBS, LIVE)
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.get(SNAPSHOT)
            for name in names:
                pipe.xrevrange(name, count=max(past, 1))
            snapshot, *found = pipe.execute()
        positions = {name: entries[0][0] if entries else "0-0" for name, entries in zip(names, found, strict=True)}
        return positions, decode_snapshot(snapshot), _in_order(*found[:2])[-past:] if past else []

    def _read(self, stop: Callable[[], bool], positions: dict[str, str]) -> Iterator[Event | None]:
        while not stop():
            found = self.redis.xread(dict(positions), count=500, block=200)
            if not found:
                yield None
                continue
            entries = [(key, name, values) for name, read in found for key, values in read]
            for key, name, values in sorted(entries, key=lambda entry: _position(entry[0])):
                positions[name] = key
                if (event := decode(values["event"])) is not None:
                    yield event


def _in_order(*streams: Sequence[tuple[str, dict[str, str]]]) -> list[Lasting]:
    """The events of several streams, oldest first. Ids of one millisecond say nothing across streams."""
    known = [(_position(key)[0], decode(values["event"])) for entries in streams for key, values in reversed(entries)]
    lasting = [(milliseconds, event) for milliseconds, event in known if isinstance(event, Lasting)]
    return [event for _, event in sorted(lasting, key=lambda each: (each[0], each[1].at))]


def _position(key: str) -> tuple[int, int]:
    milliseconds, number = key.split("-")
    return int(milliseconds), int(number)
