"""The typed events, and how they travel: through capped streams, so that no reader loses or doubles one.

Transitions and jobs are kept as history. Progress and readings, each soon followed by the next, go through
a stream of their own that keeps only the latest, so they cannot push the history out.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from core.text import clean

if TYPE_CHECKING:
    from core.database import RedisClient

log = logging.getLogger(__name__)

PhaseName = Literal["empty", "loading", "warm", "unloading"]
JobStateName = Literal["queued", "waiting", "running", "done", "failed", "cancelled", "interrupted"]

SNAPSHOT = "charlie:state"
TRANSITIONS = "charlie:transitions"
JOBS = "charlie:jobs"
LIVE = "charlie:live"
KEPT = 10_000
"""How many events of each lasting stream are kept, about."""
KEPT_LIVE = 200


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU: bytes in all and bytes free."""

    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM and VRAM as read at one moment, in bytes; `process_rss` is the worker's."""

    total: int = 0
    available: int = 0
    process_rss: int = 0
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class StateChanged:
    """One transition of the machine. `seq` counts transitions without a gap; `elapsed_ms` is the time in `source`."""

    seq: int
    source: PhaseName
    to: PhaseName
    trigger: str
    role: str | None
    model: str | None
    reason: str
    elapsed_ms: float
    starter: bool = False
    before: Memory | None = None
    after: Memory | None = None
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class WorkerUp:
    """A worker began to serve, with nothing loaded."""

    pid: int
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker ended without being asked to; `attempt` of `attempts` to start it again follows."""

    pid: int
    reason: str
    attempt: int
    attempts: int
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A job entered a state. `subject` is the conversation or entry that it is about."""

    id: str
    job: str
    state: JobStateName
    subject: str = ""
    error: str = ""
    hint: str = ""
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load is, 0 to 1."""

    role: str
    model: str
    fraction: float


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a running job is. Units are tokens in prefill and decode, chunks in ingest, entries in rerank."""

    id: str
    stage: Literal["prefill", "decode", "embed", "rerank"]
    done: int
    total: int = 0
    tokens_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """How many jobs wait, and which one is being worked on."""

    depth: int
    running: str | None


@dataclass(frozen=True, slots=True)
class MemoryRead:
    """A reading by the worker; published when it changed."""

    memory: Memory


Lasting = StateChanged | WorkerUp | WorkerLost | JobChanged
Fleeting = LoadProgress | JobProgress | QueueChanged | MemoryRead
Event = Lasting | Fleeting

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        StateChanged, WorkerUp, WorkerLost, JobChanged, LoadProgress, JobProgress, QueueChanged, MemoryRead,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the machine now; what a late subscriber starts from."""

    seq: int = 0
    phase: PhaseName = "empty"
    role: str | None = None
    model: str | None = None
    starter: bool = False
    reason: str = ""
    since: float = 0.0
    keep_alive_until: float | None = None
    worker_pid: int | None = None
    worker_lost: bool = False


def encode(event: Event | Snapshot) -> str:
    """One JSON object with a `kind`. It can always be sent: a file's name may hold what is not text."""
    return clean(json.dumps({"kind": type(event).__name__, **asdict(event)}, ensure_ascii=False))


def decode(text: str) -> Event | None:
    """The event, or None for a kind this version does not know. Unknown fields are ignored."""
    data = json.loads(text)
    kind = _KINDS.get(data.pop("kind", ""))
    if kind is None:
        log.warning("An event of an unknown kind was skipped: %.200s", text)
        return None
    event: Event = _build(kind, data)
    return event


def decode_snapshot(text: str | None) -> Snapshot:
    snapshot: Snapshot = _build(Snapshot, json.loads(text)) if text else Snapshot()
    return snapshot


def _build(kind: type[Any], data: dict[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    values = {key: value for key, value in data.items() if key in known}
    for name in ("before", "after", "memory"):
        if values.get(name):
            memory = dict(values[name])
            memory["devices"] = tuple(_build(Device, device) for device in memory.get("devices", ()))
            values[name] = _build(Memory, memory)
    return kind(**values)


class Bus:
    """Publishes and follows events over one database. `redis` must decode responses."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis

    def snapshot(self) -> Snapshot:
        return decode_snapshot(self.redis.get(SNAPSHOT))

    def amend(self, snapshot: Snapshot) -> None:
        """Replace the snapshot without an event: the phase is the same, something about it is known better."""
        self.redis.set(SNAPSHOT, encode(snapshot))

    def publish(self, event: Event, snapshot: Snapshot | None = None) -> None:
        """Send one event; with a snapshot, both are written in one MULTI, so nobody sees one without the other."""
        match event:
            case StateChanged() | WorkerUp() | WorkerLost():
                stream = TRANSITIONS
            case JobChanged():
                stream = JOBS
            case LoadProgress() | JobProgress() | QueueChanged() | MemoryRead():
                self.redis.xadd(LIVE, {"event": encode(event)}, maxlen=KEPT_LIVE, approximate=True)
                return
        with self.redis.pipeline(transaction=True) as pipe:
            if snapshot is not None:
                pipe.set(SNAPSHOT, encode(snapshot))
            pipe.xadd(stream, {"event": encode(event)}, maxlen=KEPT, approximate=True)
            pipe.execute()

    def history(self, count: int = KEPT) -> list[Lasting]:
        """The last lasting events, oldest first; transitions and jobs in the order they happened."""
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.xrevrange(TRANSITIONS, count=count)
            pipe.xrevrange(JOBS, count=count)
            return _in_order(*pipe.execute())[-count:]

    def transitions(self, count: int) -> list[StateChanged | WorkerUp | WorkerLost]:
        """The last `count` transitions and worker events, newest first."""
        found = (decode(values["event"]) for _, values in self.redis.xrevrange(TRANSITIONS, count=count))
        return [event for event in found if isinstance(event, StateChanged | WorkerUp | WorkerLost)]

    def follow(self, stop: Callable[[], bool], *, past: int = 0) -> Iterator[Event | Snapshot | None]:
        """The snapshot first, then `past` lasting events, then all that happens, until `stop()`.

        Yields None about five times a second while nothing happens. Survives a database that goes and
        comes back: it continues from the last ids and yields the snapshot again.
        """
        from redis.exceptions import ConnectionError as Lost
        from redis.exceptions import TimeoutError as Late

        positions: dict[str, str] | None = None
        while not stop():
            try:
                if positions is None:
                    positions, snapshot, history = self._begin(past)
                    yield snapshot
                    yield from history
                else:
                    yield self.snapshot()
                yield from self._read(stop, positions)
            except (Lost, Late) as error:
                log.warning("The database does not answer; trying again. %s", error)
                time.sleep(0.1)
                yield None

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
