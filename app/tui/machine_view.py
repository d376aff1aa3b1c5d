"""The interface's view of the machine: one value, which only events change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from core.events import types as events
from core.memory.types import Memory

RESTARTED = "worker restarted"
SPAN_SECONDS = 180.0
"""The age up to which readings of RAM are kept."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A download that is under way; its share is None until the hub has answered."""

    name: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class MachineView:
    """The state of the machine as of the last event seen."""

    snapshot: events.Snapshot = field(default_factory=events.Snapshot)
    memory: Memory | None = None
    readings: tuple[tuple[float, int], ...] = ()
    """Seconds since the epoch, and bytes of RAM in use. A reading holds until the next."""
    short: events.Receipt | None = None
    """The last unload, if it has not returned all memory."""
    depth: int = 0
    running: str | None = None
    queue_known: bool = False
    """Whether an event has reported the length of the queue since the bus was connected."""
    tokens_per_second: float | None = None
    """The last measured rate; kept until the model is unloaded."""
    generating: bool = False
    fraction: float = 0.0
    """The progress of loading, 0 to 1; valid only in the phase Loading."""
    lost: events.WorkerLost | None = None
    last: events.StateChanged | None = None
    fetch: Fetch | None = None
    """Set by the app: a download is this interface's own."""

    def began(self, snapshot: events.Snapshot) -> MachineView:
        """The view after the bus was connected again: the snapshot replaces earlier events."""
        same = snapshot.seq == self.snapshot.seq and snapshot.worker_pid == self.snapshot.worker_pid
        return replace(
            self,
            snapshot=snapshot,
            queue_known=False,
            lost=self.lost if snapshot.worker_lost else None,
            tokens_per_second=self.tokens_per_second if same else None,
            last=self.last if same else None,
        )

    def counted(self, waiting: int, running: str | None) -> MachineView:
        """The view after the queue was counted, which is needed on attaching. Events are more recent."""
        return self if self.queue_known else replace(self, depth=waiting, running=running)

    def seen(self, event: events.Event) -> MachineView:
        """The view after one event. An event that the snapshot already contains changes nothing."""
        match event:
            case events.StateChanged():
                return self._changed(event)
            case events.WorkerUp() | events.WorkerLost():
                return self._emptied(event) if self._is_new(event) else self
            case events.JobChanged():
                ended = event.state.ended and event.id == self.running
                return replace(self, generating=False) if ended else self
            case events.LoadProgress():
                return replace(self, fraction=event.fraction)
            case events.JobProgress():
                decoding = event.stage in ("think", "decode")
                rate = event.tokens_per_second if decoding and event.tokens_per_second else self.tokens_per_second
                return replace(self, generating=decoding, tokens_per_second=rate)
            case events.QueueChanged():
                generating = self.generating and event.running == self.running
                return replace(self, depth=event.depth, running=event.running, queue_known=True, generating=generating)
            case events.MemoryRead():
                return self._read(event)
            case events.Receipt() | events.PolicyChanged():
                return self._informed(event)
            case events.Planned() | events.LibraryChanged():
                return self
        assert_never(event)

    def _informed(self, event: events.Receipt | events.PolicyChanged) -> MachineView:
        if isinstance(event, events.Receipt):
            return replace(self, short=event if event.short else None)
        return replace(self, snapshot=replace(self.snapshot, policy=event.policy, policy_reason=event.reason))

    def _read(self, event: events.MemoryRead) -> MachineView:
        kept = [reading for reading in self.readings if reading[0] >= event.at - SPAN_SECONDS]
        older = self.readings[: len(self.readings) - len(kept)][-1:]  # it still held at the start of the span
        return replace(self, memory=event.memory, readings=(*older, *kept, (event.at, event.memory.used)))

    def _changed(self, event: events.StateChanged) -> MachineView:
        if event.seq <= self.snapshot.seq:
            return self
        warm = _warm_after(self.snapshot.warm, event)
        shown = warm[-1] if warm and event.to is events.Phase.WARM else event
        snapshot = replace(
            self.snapshot,
            seq=event.seq,
            phase=event.to,
            role=shown.role,
            model=shown.model,
            reason=event.reason,
            since=event.at,
            warm=warm,
            worker_lost=False,
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

    def _is_new(self, event: events.WorkerUp | events.WorkerLost) -> bool:
        """Decided by the process id if possible, since the clock may have been set back."""
        known = self.snapshot.worker_pid
        if known is None or (known == event.pid and isinstance(event, events.WorkerLost)):
            return True
        return known != event.pid and event.at >= self.snapshot.since

    def _emptied(self, event: events.WorkerUp | events.WorkerLost) -> MachineView:
        """A worker that starts or ends has no model loaded."""
        lost = event if isinstance(event, events.WorkerLost) else None
        snapshot = events.Snapshot(
            seq=self.snapshot.seq,
            since=event.at,
            reason=lost.reason if lost else RESTARTED if self.snapshot.worker_lost else "",
            worker_pid=None if lost else event.pid,
            worker_lost=lost is not None,
        )
        return replace(
            self,
            snapshot=snapshot,
            short=None,  # the system has freed the memory of the ended process
            lost=lost,
            running=None,
            tokens_per_second=None,
            generating=False,
            last=None,
        )


def _warm_after(warm: tuple[events.WarmRole, ...], event: events.StateChanged) -> tuple[events.WarmRole, ...]:
    """The loaded models after a transition; the newest is the last."""
    others = tuple(each for each in warm if each.role != event.role)
    match event.trigger:
        case _ if event.to is events.Phase.EMPTY:
            return ()
        case "loaded":
            return (*others, events.WarmRole(event.role or "", event.model or ""))
        case "unloaded" | "unload_failed":
            return others
        case _:
            return warm
