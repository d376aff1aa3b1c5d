"""What the interface knows of the machine, as one value that grows only by events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from core.events import (
    Event,
    JobChanged,
    JobProgress,
    LoadProgress,
    Memory,
    MemoryRead,
    Planned,
    QueueChanged,
    Receipt,
    Snapshot,
    StateChanged,
    WorkerLost,
    WorkerUp,
)

ENDED = frozenset({"done", "failed", "cancelled", "interrupted"})
RESTARTED = "worker restarted"
SPAN_SECONDS = 180.0
"""How far back the readings of RAM are kept."""


@dataclass(frozen=True, slots=True)
class MachineView:
    """The state of the machine as of the last event seen."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    memory: Memory | None = None
    readings: tuple[tuple[float, int], ...] = ()
    """When, in seconds since the epoch, how many bytes of RAM were in use; a reading holds until the next."""
    short: Receipt | None = None
    """The last unload, if it has not given its memory back."""
    depth: int = 0
    running: str | None = None
    queue_told: bool = False
    """Whether an event has said since the bus was reached how long the queue is."""
    tokens_per_second: float | None = None
    """The last measured; kept after the generation that it is of, until its model goes."""
    generating: bool = False
    fraction: float = 0.0
    """How far the load is, 0 to 1; only of meaning while loading."""
    lost: WorkerLost | None = None
    last: StateChanged | None = None

    def began(self, snapshot: Snapshot) -> MachineView:
        """The bus was reached anew: the snapshot counts, not what was seen before."""
        same = snapshot.seq == self.snapshot.seq and snapshot.worker_pid == self.snapshot.worker_pid
        return replace(
            self,
            snapshot=snapshot,
            queue_told=False,
            lost=self.lost if snapshot.worker_lost else None,
            tokens_per_second=self.tokens_per_second if same else None,
            last=self.last if same else None,
        )

    def counted(self, waiting: int, running: str | None) -> MachineView:
        """The queue was counted, as nothing else says how long it is when one attaches; an event is more recent."""
        return self if self.queue_told else replace(self, depth=waiting, running=running)

    def seen(self, event: Event) -> MachineView:
        """The view after one event; what the snapshot already contains changes nothing."""
        match event:
            case StateChanged():
                return self._changed(event)
            case WorkerUp() | WorkerLost():
                return self._emptied(event) if self._is_new(event) else self
            case JobChanged():
                ended = event.state in ENDED and event.id == self.running
                return replace(self, generating=False) if ended else self
            case LoadProgress():
                return replace(self, fraction=event.fraction)
            case JobProgress():
                decoding = event.stage == "decode"
                rate = event.tokens_per_second if decoding and event.tokens_per_second else self.tokens_per_second
                return replace(self, generating=decoding, tokens_per_second=rate)
            case QueueChanged():
                generating = self.generating and event.running == self.running
                return replace(self, depth=event.depth, running=event.running, queue_told=True, generating=generating)
            case MemoryRead():
                return self._read(event)
            case Planned():
                return self
            case Receipt():
                return replace(self, short=event if event.short else None)
        assert_never(event)

    def _read(self, event: MemoryRead) -> MachineView:
        kept = [reading for reading in self.readings if reading[0] >= event.at - SPAN_SECONDS]
        older = self.readings[: len(self.readings) - len(kept)][-1:]  # it still held when the span began
        return replace(self, memory=event.memory, readings=(*older, *kept, (event.at, event.memory.used)))

    def _changed(self, event: StateChanged) -> MachineView:
        if event.seq <= self.snapshot.seq:
            return self
        snapshot = Snapshot(
            seq=event.seq,
            phase=event.to,
            role=event.role,
            model=event.model,
            starter=event.starter,
            reason=event.reason,
            since=event.at,
            worker_pid=self.snapshot.worker_pid,
        )
        return replace(
            self,
            snapshot=snapshot,
            memory=event.after or self.memory,
            tokens_per_second=None,
            generating=False,
            fraction=0.0,
            lost=None,
            last=event,
        )

    def _is_new(self, event: WorkerUp | WorkerLost) -> bool:
        """By the process as far as possible: the clock may have been set back since."""
        known = self.snapshot.worker_pid
        if known is None or (known == event.pid and isinstance(event, WorkerLost)):
            return True
        return known != event.pid and event.at >= self.snapshot.since

    def _emptied(self, event: WorkerUp | WorkerLost) -> MachineView:
        """A worker that begins or ends has nothing loaded."""
        lost = event if isinstance(event, WorkerLost) else None
        snapshot = Snapshot(
            seq=self.snapshot.seq,
            since=event.at,
            reason=lost.reason if lost else RESTARTED if self.snapshot.worker_lost else "",
            worker_pid=None if lost else event.pid,
            worker_lost=lost is not None,
        )
        return replace(
            self,
            snapshot=snapshot,
            short=None,  # the system has taken back what the process that has gone held
            lost=lost,
            running=None,
            tokens_per_second=None,
            generating=False,
            last=None,
        )
