"""Publishes events through capped Redis streams; no reader loses an event or gets it twice.

Transitions and job changes are kept as history. Progress and memory readings have a short stream of their own, so they
do not push out the history.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from core.database import RedisClient, keys
from core.events import types
from core.events.wire import decode, decode_known, encode

log = logging.getLogger(__name__)

KEPT_EVENTS = 10_000
"""About; for each of the two streams of the history."""
KEPT_LIVE_EVENTS = 200


class Bus:
    """Publishes and follows events over one database. `redis` must decode responses."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self.published = 0
        """The number of events published by this object: the watchdog takes it as progress."""

    def snapshot(self) -> types.Snapshot:
        return decode_known(types.Snapshot, self.redis.get(keys.SNAPSHOT)) or types.Snapshot()

    def beat(self, heartbeat: types.Heartbeat) -> None:
        self.redis.set(keys.HEARTBEAT, encode(heartbeat))

    def heartbeat(self) -> types.Heartbeat | None:
        """The worker's last heartbeat."""
        return decode_known(types.Heartbeat, self.redis.get(keys.HEARTBEAT))

    def amend(self, snapshot: types.Snapshot) -> None:
        """Replace the snapshot without an event: a detail changed, not the phase."""
        self.redis.set(keys.SNAPSHOT, encode(snapshot))

    def publish(self, event: types.Event, snapshot: types.Snapshot | None = None) -> None:
        """Publish an event, and the snapshot in the same MULTI, so no reader sees one without the other."""
        if snapshot is None:
            self.add(self.redis, event)
            return
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.set(keys.SNAPSHOT, encode(snapshot))
            self.add(pipe, event)
            pipe.execute()

    def add(self, pipe: Any, event: types.Event) -> None:
        """Add an event to the caller's pipeline."""
        self.published += 1
        if isinstance(event, types.JobChanged):
            stream, kept = keys.JOBS, KEPT_EVENTS
        elif isinstance(event, types.Lasting):
            stream, kept = keys.TRANSITIONS, KEPT_EVENTS
        else:
            stream, kept = keys.LIVE, KEPT_LIVE_EVENTS
        pipe.xadd(stream, {"event": encode(event)}, maxlen=kept, approximate=True)

    def history(self, count: int = KEPT_EVENTS) -> list[types.Lasting]:
        """The last transitions and job changes, oldest first."""
        return self._begin(count)[2]

    def transitions(self, count: int) -> list[types.OfMachine]:
        """The last `count` events that are not about jobs, newest first, without plans."""
        found = (decode(values["event"]) for _, values in self.redis.xrevrange(keys.TRANSITIONS, count=count))
        return [event for event in found if isinstance(event, types.OfMachine)]

    def follow(self, stop: Callable[[], bool], *, past: int = 0) -> Iterator[types.Event | types.Snapshot | None]:
        """Yield the snapshot, then the last `past` events of the history, then each new event, until `stop()`.

        Yields None about five times a second while there is no event. After a restart of the database it yields the
        snapshot again and continues after the last event.
        """
        from redis.exceptions import ConnectionError as Lost
        from redis.exceptions import TimeoutError as Late

        from core.database.connection import without_retries

        reader = Bus(without_retries(self.redis))
        try:
            positions: dict[str, str] | None = None
            warned = False
            while not stop():
                try:
                    if positions is None:
                        positions, snapshot, history = reader._begin(past)
                        yield snapshot
                        yield from history
                    else:
                        yield reader.snapshot()
                    warned = False
                    yield from reader._read(stop, positions)
                except (Lost, Late) as error:
                    if not warned:
                        log.warning("The database does not answer; trying again. %s", error)
                    warned = True
                    time.sleep(0.1)
                    yield None
        finally:
            reader.redis.connection_pool.disconnect()

    def _begin(self, past: int) -> tuple[dict[str, str], types.Snapshot, list[types.Lasting]]:
        """The positions to read from, the snapshot at that moment, and the last `past` events of the history."""
        names = (keys.TRANSITIONS, keys.JOBS, keys.LIVE)
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.get(keys.SNAPSHOT)
            for name in names:
                pipe.xrevrange(name, count=max(past, 1))
            snapshot, *found = pipe.execute()
        positions = {name: entries[0][0] if entries else "0-0" for name, entries in zip(names, found, strict=True)}
        present = decode_known(types.Snapshot, snapshot) or types.Snapshot()
        return positions, present, _in_order(*found[:2])[-past:] if past else []

    def _read(self, stop: Callable[[], bool], positions: dict[str, str]) -> Iterator[types.Event | None]:
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


def _in_order(*streams: Sequence[tuple[str, dict[str, str]]]) -> list[types.Lasting]:
    """Merge streams, oldest first. Within one millisecond, ids of two streams give no order, so `at` decides."""
    known = [(_position(key)[0], decode(values["event"])) for entries in streams for key, values in reversed(entries)]
    lasting = [(milliseconds, event) for milliseconds, event in known if isinstance(event, types.Lasting)]
    return [event for _, event in sorted(lasting, key=lambda each: (each[0], each[1].at))]


def _position(key: str) -> tuple[int, int]:
    milliseconds, number = key.split("-")
    return int(milliseconds), int(number)
