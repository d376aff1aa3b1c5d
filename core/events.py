"""The typed events, and what they are on the wire. Lasting ones are kept as history, fleeting ones are soon stale."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from core.text import clean

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

PhaseName = Literal["empty", "loading", "warm", "unloading"]
BACK_SHARE = 0.75
"""An unload that gives back less of what the load took is told of."""
NOISE = 32 * 1024**2
"""Bytes; a model that took less than this cannot be told from the allocator's own reserves."""
JobStateName = Literal["queued", "waiting", "running", "done", "failed", "cancelled", "interrupted"]


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU: bytes in all and bytes free. `id` is llama.cpp's name for it; unified memory is the machine's RAM."""

    name: str
    total: int
    free: int
    id: str = ""
    kind: str = "GPU"
    unified: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM and VRAM as read at one moment, in bytes.

    `process_rss` is the worker's, `process_file` its part that is backed by files. `pressure` is the share of the
    last ten seconds, in per cent, in which something on the machine waited for memory; None where nobody counts.
    """

    total: int = 0
    available: int = 0
    process_rss: int = 0
    devices: tuple[Device, ...] = ()
    process_file: int = 0
    pressure: float | None = None

    @property
    def used(self) -> int:
        return self.total - self.available


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
class Planned:
    """What was decided before a load: `needed` and `available` are bytes by device, RAM being one of them.

    `unload` are the roles that go first; `available` counts what they give back, and not the reserves.
    """

    role: str
    model: str
    fits: bool
    needed: dict[str, int]
    available: dict[str, int]
    unload: tuple[str, ...]
    gpu_layers: int
    context: int
    reason: str
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an unload gave back, in bytes of RAM and VRAM, against what the load had taken; and how long it took."""

    role: str
    model: str
    before: Memory
    after: Memory
    expected: int
    returned: int
    seconds: float
    at: float = field(default_factory=time.time)

    @property
    def short(self) -> bool:
        """Whether too little came back to blame it on the allocator."""
        return self.expected >= NOISE and self.returned < BACK_SHARE * self.expected


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
    """How far a running job is.

    Units are tokens in prefill and decode, entries in rerank and embed; of a single entry, embed tells chunks.
    """

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
    at: float = field(default_factory=time.time)


Lasting = StateChanged | Planned | Receipt | WorkerUp | WorkerLost | JobChanged
Fleeting = LoadProgress | JobProgress | QueueChanged | MemoryRead
Event = Lasting | Fleeting

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        StateChanged, Planned, Receipt, WorkerUp, WorkerLost, JobChanged,
        LoadProgress, JobProgress, QueueChanged, MemoryRead,
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


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker's last sign of life: how many there were, how often its work went on, and whether it has any."""

    pid: int
    beats: int = 0
    progress: int = 0
    busy: bool = False
    phase: PhaseName = "empty"


def encode(event: Event | Snapshot | Heartbeat) -> str:
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


def decode_heartbeat(text: str | None) -> Heartbeat | None:
    heartbeat: Heartbeat | None = _build(Heartbeat, json.loads(text)) if text else None
    return heartbeat


def _build(kind: type[Any], data: dict[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    values = {key: value for key, value in data.items() if key in known}
    for name in ("before", "after", "memory"):
        if values.get(name):
            memory = dict(values[name])
            memory["devices"] = tuple(_build(Device, device) for device in memory.get("devices", ()))
            values[name] = _build(Memory, memory)
    if "unload" in values:
        values["unload"] = tuple(values["unload"])
    return kind(**values)
