"""Numbers and publishes the transitions, and keeps the snapshot up to date."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

import redis
from transitions import EventData

from core.events.bus import Bus
from core.events.types import (
    LoadProgress,
    Phase,
    Planned,
    PolicyChanged,
    Receipt,
    Snapshot,
    StateChanged,
    WarmRole,
    WorkerUp,
)
from core.model_files.spec import ModelSpec
from core.roles import Role

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.05


class Announcer:
    """Publishes each transition once, in order, together with the snapshot after it."""

    def __init__(self, bus: Bus, warm: Callable[[], Iterable[WarmRole]]) -> None:
        """`warm` gives the loaded models, the least recently used first."""
        self._bus = bus
        self._warm = warm
        self._kept: Mapping[Role, float | None] = {}
        self._outbox: list[tuple[StateChanged | PolicyChanged, Snapshot]] = []
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

    def set_kept(self, until: Mapping[Role, float | None]) -> None:
        """Set the time (seconds since the epoch) at which each warm model is unloaded if nobody uses it."""
        if self.snapshot.phase is Phase.WARM:
            self._kept = dict(until)
            warm = self._warm_roles()
            self.snapshot = replace(self.snapshot, warm=warm, role=warm[-1].role, model=warm[-1].model)
            self._bus.amend(self.snapshot)

    def set_policy(self, policy: str, reason: str) -> None:
        """Publish the policy that holds, if it is another one or for another reason."""
        if (policy, reason) != (self.snapshot.policy, self.snapshot.policy_reason):
            self.snapshot = replace(self.snapshot, policy=policy, policy_reason=reason)
            self._outbox.append((PolicyChanged(policy, reason), self.snapshot))
            self.publish()

    def _warm_roles(self) -> tuple[WarmRole, ...]:
        return tuple(replace(each, kept_until=self._kept.get(Role(each.role))) for each in self._warm())

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
        if phase in (Phase.WARM, Phase.EMPTY):
            self._kept = {role: until for role, until in self._kept.items() if role is not spec.role}
        warm = self._warm_roles()
        role, model = (None, None) if phase is Phase.EMPTY else (spec.role.value, spec.name)
        if phase is Phase.WARM and warm:
            role, model = warm[-1].role, warm[-1].model
        self.snapshot = replace(
            self.snapshot,
            seq=change.seq,
            phase=phase,
            role=role,
            model=model,
            reason=change.reason,
            since=change.at,
            warm=warm,
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
