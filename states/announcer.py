"""Numbers and publishes the transitions, and keeps the snapshot up to date."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import redis
from transitions import EventData

from core.events.bus import Bus
from core.events.types import LoadProgress, Phase, Planned, Receipt, Snapshot, StateChanged, WorkerUp
from core.model_files.spec import ModelSpec

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.05


class Announcer:
    """Publishes each transition once, in order, together with the snapshot after it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._outbox: list[tuple[StateChanged, Snapshot]] = []
        self._entered = time.monotonic()
        self.snapshot = Snapshot(seq=bus.snapshot().seq)

    def arrive(self, up: WorkerUp) -> None:
        """Announce the worker of this process, with nothing loaded."""
        self.snapshot = replace(self.snapshot, worker_pid=up.pid, since=up.at)
        self._bus.publish(up, self.snapshot)

    def leave(self) -> None:
        """Take the worker off the snapshot: no process serves from now on."""
        self.snapshot = replace(self.snapshot, worker_pid=None)
        self._bus.amend(self.snapshot)

    def set_keep_alive(self, until: float | None) -> None:
        """Set the time (seconds since the epoch) at which the warm model is unloaded if nobody uses it."""
        if self.snapshot.phase is Phase.WARM:
            self.snapshot = replace(self.snapshot, keep_alive_until=until)
            self._bus.amend(self.snapshot)

    def record(self, event: EventData) -> None:
        """Number a transition and put it in the outbox. Nothing here can fail, so the machine cannot get stuck."""
        spec: ModelSpec = event.kwargs["spec"]
        transition = event.transition
        if transition is None:
            raise AssertionError("a state changes by a transition")
        phase = Phase[str(transition.dest)]
        now = time.monotonic()
        change = StateChanged(
            seq=self.snapshot.seq + 1,
            source=Phase[transition.source],
            to=phase,
            trigger=event.event.name,
            role=spec.role.value,
            model=spec.name,
            reason=event.kwargs["reason"],
            elapsed_ms=round((now - self._entered) * 1000, 3),
            before=event.kwargs["before"],
            after=event.kwargs["after"],
        )
        self._entered = now
        shown = phase is not Phase.EMPTY
        self.snapshot = Snapshot(
            seq=change.seq,
            phase=phase,
            role=spec.role.value if shown else None,
            model=spec.name if shown else None,
            reason=change.reason,
            since=change.at,
            worker_pid=self.snapshot.worker_pid,
        )
        self._outbox.append((change, self.snapshot))
        log.info("%s → %s (%s) %s %s", change.source, change.to, change.trigger, change.role, change.reason)

    def publish(self) -> None:
        """Send the recorded transitions in order. One that cannot be sent waits for the next call."""
        while self._outbox:
            try:
                self._bus.publish(*self._outbox[0])
            except redis.RedisError:
                log.exception("A transition could not be published yet.")
                return
            self._outbox.pop(0)

    def inform(self, event: Planned | Receipt) -> None:
        """Publish a plan or a receipt. A failure to send it stops nothing."""
        try:
            self._bus.publish(event)
        except redis.RedisError:
            log.exception("An event could not be published: %s", event)

    def load_progress(self, spec: ModelSpec) -> Callable[[float], None]:
        """A callback that publishes the progress of a load."""
        sent = 0.0

        def progress(fraction: float) -> None:
            nonlocal sent
            if time.monotonic() - sent > PROGRESS_SECONDS:
                sent = time.monotonic()
                # Called by llama.cpp during the load; a lost event is no reason to stop it.
                with suppress(redis.RedisError):
                    self._bus.publish(LoadProgress(spec.role.value, spec.name, fraction))

        return progress
