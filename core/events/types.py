"""The events. Lasting ones are kept as history; fleeting ones are soon replaced by newer ones."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from core.memory.types import BACK_SHARE, NOISE, Memory


class Phase(StrEnum):
    """The state of the lifecycle. The loaded model is data, not a state."""

    EMPTY = "empty"
    LOADING = "loading"
    WARM = "warm"
    UNLOADING = "unloading"


class JobKind(StrEnum):
    CHAT = "chat_response"
    INGEST = "ingest_entry"
    SEARCH = "search_journal"
    ASK = "ask_journal"
    REFLECT = "reflect"
    DESCRIBE = "describe_entries"
    FEEL = "read_feelings"
    WARM = "warm"
    UNLOAD = "unload"
    PLAN = "plan"


class JobState(StrEnum):
    QUEUED = "queued"
    WAITING = "waiting"
    """Taken by the worker; its model is being loaded."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The worker ended during the job; the job can be repeated."""

    @property
    def ended(self) -> bool:
        return self in ENDED


ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED})
TAKEN = frozenset({JobState.WAITING, JobState.RUNNING})
UNENDED = TAKEN | {JobState.QUEUED}


@dataclass(frozen=True, slots=True)
class StateChanged:
    """One transition. `seq` has no gaps; `elapsed_ms` is the time spent in `source`."""

    seq: int
    source: Phase
    to: Phase
    trigger: str
    role: str | None
    model: str | None
    reason: str
    elapsed_ms: float
    before: Memory | None = None
    after: Memory | None = None
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan of a load: `needed` and `available` in bytes by device, with RAM as one device.

    The roles in `unload` are unloaded first; `available` includes their memory and excludes the reserves.
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
    """The memory that an unload returned, beside the memory `expected` from its load (bytes of RAM and VRAM)."""

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
        """Whether more memory is missing than the allocator usually holds back."""
        return self.expected >= NOISE and self.returned < BACK_SHARE * self.expected


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """The policy that holds from now on, "exclusive" or "fitting", and why."""

    policy: str
    reason: str
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class WorkerUp:
    """A worker has started, with no model loaded."""

    pid: int
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker ended unexpectedly; restart number `attempt` of at most `attempts` follows."""

    pid: int
    reason: str
    attempt: int
    attempts: int
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A job entered a state. `subject` is the id of its conversation or entry."""

    id: str
    job: JobKind
    state: JobState
    subject: str = ""
    error: str = ""
    hint: str = ""
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """The progress of a load, from 0 to 1."""

    role: str
    model: str
    fraction: float


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The progress of a job: tokens in prefill, think and decode, entries in embed, chunks for a single entry."""

    id: str
    stage: Literal["prefill", "think", "decode", "embed"]
    done: int
    total: int = 0
    tokens_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """The number of waiting jobs, and the id of the running one."""

    depth: int
    running: str | None


@dataclass(frozen=True, slots=True)
class MemoryRead:
    """A memory reading by the worker, published when it has changed."""

    memory: Memory
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class LibraryChanged:
    """A process has changed, deleted or brought back an entry or a conversation; without an id, many of them."""

    id: str = ""


OfMachine = StateChanged | Receipt | PolicyChanged | WorkerUp | WorkerLost
Lasting = OfMachine | Planned | JobChanged
Fleeting = LoadProgress | JobProgress | QueueChanged | MemoryRead | LibraryChanged
Event = Lasting | Fleeting


@dataclass(frozen=True, slots=True)
class WarmRole:
    """A loaded model. It is unloaded at `kept_until` (seconds since the epoch); None: when its memory is needed."""

    role: str
    model: str
    kept_until: float | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The present state, from which a late subscriber starts.

    `role` and `model` are being loaded or unloaded, or, in Warm, were used last; `warm` has the least recently used
    first. `policy` is empty until it is first decided.
    """

    seq: int = 0
    phase: Phase = Phase.EMPTY
    role: str | None = None
    model: str | None = None
    reason: str = ""
    since: float = 0.0
    worker_pid: int | None = None
    worker_lost: bool = False
    warm: tuple[WarmRole, ...] = ()
    policy: str = ""
    policy_reason: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The worker's heartbeat: the number of beats, a progress counter, and whether a job runs."""

    pid: int
    beats: int = 0
    progress: int = 0
    busy: bool = False
    phase: Phase = Phase.EMPTY
