"""ModelManager: the machine that decides which model is in memory. A lease is the only way to a model."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, overload

import redis
from transitions import EventData, Machine

from core import engine
from core.errors import CancelledError, CharlieError, MemoryRefusedError, OutOfMemoryError
from core.events import LoadProgress, Memory, Planned, Receipt, Snapshot, StateChanged, WorkerUp
from core.footprint import RAM, Footprint
from core.instruct import InstructModel
from core.ledger import Ledger, Measured
from core.library import Library
from core.model_files import ModelSpec, resolve
from core.sessions import Sessions
from core.settings import Role, Settings, SettingsFile
from states.lifecycle import Phase, declared
from states.plan import Plan, Warm, fits, gib
from states.planner import Planner, given_back, predict, smaller, stamp_of
from states.room import await_return, read_memory, taken, trim

if TYPE_CHECKING:
    from pathlib import Path

    from core.bus import Bus
    from core.embedder import EmbeddingModel
    from core.paths import Paths
    from core.reranker import RerankerModel

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.05


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Loaded:
    """The registry's record of a loaded model: what was wanted, what the plan made of it, the stamp of its file."""

    wanted: ModelSpec
    spec: ModelSpec
    stamp: tuple[int, int]
    model: engine.Model
    before: Memory
    """Read before the load."""
    predicted: Footprint
    """As it was before its load, uncorrected."""


@dataclass(frozen=True, slots=True)
class Known:
    """A resolved spec, and the settings and the file (time, bytes) that it was resolved from."""

    configured: object
    stamp: tuple[int, int]
    spec: ModelSpec


class ModelManager:
    """Loads, holds and unloads the one heavy model. Only the worker's one thread may call it.

    The registry holds at most one model: everything else conflicts with it and is unloaded first. Slow work
    stands between two triggers, never in a callback of the machine.
    """

    state: Phase
    trigger: Callable[..., bool]

    def __init__(self, settings: SettingsFile, paths: Paths, bus: Bus) -> None:
        self._settings = settings
        self._paths = paths
        self._bus = bus
        self._library = Library(bus.redis)
        self._registry: dict[Role, Loaded] = {}
        self._known: dict[Role, Known] = {}
        self._planner = Planner(Ledger(bus.redis))
        self._leases = 0
        self._outbox: list[tuple[StateChanged, Snapshot]] = []
        self._entered = time.monotonic()
        self.snapshot = Snapshot(seq=bus.snapshot().seq)
        self.last_used = time.monotonic()
        self.load_seconds = 0.0
        """How long the last lease waited for its model to become warm; 0 when it was."""
        Machine(
            model=self,
            states=Phase,
            transitions=declared(),
            initial=Phase.EMPTY,
            auto_transitions=False,
            send_event=True,
            after_state_change=self._record,
        )

    @property
    def settings(self) -> Settings:
        """The settings as they are in the file now. Raises SettingsError."""
        return self._settings.current()

    @property
    def standing(self) -> Settings:
        """The settings, or the last good ones while the file is broken: eviction and the reserves go by them."""
        return self._settings.usable()

    def is_warm(self, role: Role) -> bool:
        """Whether a lease of this role would begin at once. Raises what `lease` raises for a file."""
        loaded = self._registry.get(role)
        if loaded is None:
            return False
        wanted = self._wanted(role)
        return (loaded.wanted, loaded.stamp) == (wanted, self._known[role].stamp)

    def can_warm_without_unloading(self, role: Role) -> bool:
        """Whether a lease of this role would unload nothing: it is warm, or nothing is. Raises as `is_warm` does."""
        return not self._registry or self.is_warm(role)

    @overload
    def lease(
        self, role: Literal[Role.INSTRUCT], cancelled: Callable[[], bool] = never
    ) -> AbstractContextManager[InstructModel]: ...
    @overload
    def lease(
        self, role: Literal[Role.EMBEDDING], cancelled: Callable[[], bool] = never
    ) -> AbstractContextManager[EmbeddingModel]: ...
    @overload
    def lease(
        self, role: Literal[Role.RERANKER], cancelled: Callable[[], bool] = never
    ) -> AbstractContextManager[RerankerModel]: ...
    @overload
    def lease(self, role: Role, cancelled: Callable[[], bool] = never) -> AbstractContextManager[engine.Model]: ...
    def lease(self, role: Role, cancelled: Callable[[], bool] = never) -> AbstractContextManager[Any]:
        """Warm the role (no-op, load, or unload then load) and hold its model; what is leased is never unloaded.

        Raises ModelFileError, SettingsError, MemoryRefusedError, LoadFailedError, CancelledError.
        """
        return self._lease(role, cancelled)

    @contextmanager
    def _lease(self, role: Role, cancelled: Callable[[], bool]) -> Iterator[engine.Model]:
        began = time.monotonic()
        self.load_seconds = 0.0
        if not self.is_warm(role):
            self._swap(self._wanted(role), cancelled)
            self.load_seconds = time.monotonic() - began
        self._leases += 1
        try:
            yield self._registry[role].model
        finally:
            self._leases -= 1
            self.last_used = time.monotonic()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What this process takes within the block is not the model's, and is not waited for when that is unloaded."""
        before = read_memory()
        yield
        after = read_memory()
        for role, loaded in self._registry.items():
            rss = loaded.before.process_rss + after.process_rss - before.process_rss
            file = loaded.before.process_file + after.process_file - before.process_file
            self._registry[role] = replace(loaded, before=replace(loaded.before, process_rss=rss, process_file=file))

    def plan(self, role: Role, file: Path | None = None) -> Plan:
        """What loading a role's model, or another file in its place, would need and do now. Loads nothing."""
        if file is None and self.is_warm(role):
            loaded = self._registry[role].spec
            as_it_is = replace(loaded, least_context=loaded.context_length, least_gpu_layers=loaded.gpu_layers)
            now = read_memory()
            plan = self._planner.plan(as_it_is, self.settings.memory, now, self._warm(now))
            reason = f"is warm with {loaded.context_length:,} tokens"
            return replace(plan, spec=loaded, fits=True, unload=(), reason=reason, hint="")
        spec = resolve(self.settings, self._paths, role, file) if file else self._wanted(role)
        now = read_memory()
        return self._planner.plan(spec, self.settings.memory, now, self._warm(now))

    def measured(self, plan: Plan) -> Measured | None:
        """What was predicted of a plan's model with these settings, and what it took when it was loaded before."""
        return self._planner.measured(plan.spec)

    def short_of_memory(self, now: Memory) -> str:
        """Why an idle model is to go though no other is wanted: free memory is under a reserve. Empty when it is not.

        It only reads, so any thread may call it.
        """
        loaded = next(iter(tuple(self._registry.values())), None)
        if loaded is None or self.state is not Phase.WARM or self._leases:
            return ""
        reserve = self.standing.memory
        if now.available < reserve.ram_reserve:
            return f"free memory fell under the reserve ({gib(now.available)} of {gib(reserve.ram_reserve)})"
        used = taken(loaded.before, now).devices
        for device in now.devices:
            if used.get(device.id) and device.free < reserve.vram_reserve:
                return f"free memory of {device.name} fell under the reserve ({gib(device.free)})"
        return ""

    def unload_model(self, reason: str) -> bool:
        """Unload what is warm; False when nothing was. Raises CharlieError while it is leased."""
        if self.state is not Phase.WARM:
            return False
        self._unload(reason, read_memory())
        return True

    def _unload(self, reason: str, before: Memory) -> Memory | None:
        """Unload what is warm. Returns the memory as it is then, None where it could not be read."""
        (loaded,) = self._registry.values()
        began = time.monotonic()
        if not self._fire("unload", loaded.spec, reason):
            raise CharlieError("The model is in use.", "Wait for the reply, or stop it first.")
        took = taken(loaded.before, before)
        self._planner.record(loaded.spec, loaded.stamp, loaded.predicted, took)
        spec, expected = loaded.spec, took.total
        failure, after = "", None
        try:
            if isinstance(loaded.model, InstructModel):
                loaded.model.keep()
            loaded.model.close()
        except Exception as error:
            log.exception("Closing %s failed; it is given up.", spec.name)
            failure = f"closing it failed: {error}"
        del loaded
        self._registry.clear()
        gc.collect()
        trim()
        try:
            after = await_return(before, expected)
        except Exception as error:
            log.exception("The memory could not be read after %s was closed.", spec.name)
            failure = failure or f"reading the memory failed: {error}"
        self._fire("unload_failed" if failure else "unloaded", spec, failure or reason, before, after)
        if after is not None:
            back, seconds = taken(after, before).total, round(time.monotonic() - began, 4)
            self._tell(Receipt(spec.role.value, spec.name, before, after, expected, back, seconds))
        return after

    def arrive(self, up: WorkerUp) -> None:
        """Announce the worker that this manager lives in, with nothing loaded."""
        self.snapshot = replace(self.snapshot, worker_pid=up.pid, since=up.at)
        self._bus.publish(up, self.snapshot)

    def leave(self) -> None:
        """Unload, and take the worker's name off the snapshot: nobody serves from now on."""
        self.unload_model("the worker ends")
        self.snapshot = replace(self.snapshot, worker_pid=None)
        self._bus.amend(self.snapshot)

    def set_keep_alive(self, until: float | None) -> None:
        """Say until when (seconds since the epoch) the warm model is kept if nobody uses it."""
        if self.state is Phase.WARM:
            self.snapshot = replace(self.snapshot, keep_alive_until=until)
            self._bus.amend(self.snapshot)

    def _swap(self, spec: ModelSpec, cancelled: Callable[[], bool]) -> None:
        """Plan, unload what is warm, load; once more and smaller when memory ran out all the same.

        What is warm stays so when it is clear beforehand that the wanted one cannot fit even alone.
        """
        now = read_memory()
        plan = self._announced(self._planner.plan(spec, self.settings.memory, now, self._warm(now)))
        if self.state is Phase.WARM:
            now = self._unload(f"{spec.role} is wanted", now) or read_memory()
            # With what is really free now: not all may have come back.
            again = self._planner.plan(spec, self.settings.memory, now)
            plan = again if again.spec == plan.spec and again.fits else self._announced(again)
        try:
            self._load(spec, plan, cancelled)
        except OutOfMemoryError as error:
            self._retry(spec, plan, error, cancelled)

    def _retry(self, spec: ModelSpec, plan: Plan, error: OutOfMemoryError, cancelled: Callable[[], bool]) -> None:
        reduced = smaller(spec, plan.spec)
        if reduced is None:
            raise MemoryRefusedError(error.message, error.hint) from error
        log.warning("%s It is tried once more with less.", error.message)
        plan = self._announced(self._planner.plan(reduced, self.settings.memory, read_memory()))
        try:
            self._load(spec, plan, cancelled)
        except OutOfMemoryError as again:
            needed, free = gib(plan.needed[RAM]), gib(plan.available[RAM])
            sentence = f"{again.message} The plan had {needed} of RAM needed and {free} free."
            raise MemoryRefusedError(sentence, again.hint) from again

    def _announced(self, plan: Plan) -> Plan:
        """Publish a plan. Raises MemoryRefusedError for one that does not fit."""
        spec = plan.spec
        self._tell(
            Planned(
                spec.role.value, spec.name, plan.fits, plan.needed, plan.available, plan.unload,
                spec.gpu_layers, spec.context_length, plan.reason,
            )
        )  # fmt: skip
        if not plan.fits:
            raise MemoryRefusedError(plan.reason, plan.hint)
        return plan

    def _warm(self, now: Memory) -> Warm | None:
        """What would come back if the warm model were unloaded now."""
        loaded = next(iter(self._registry.values()), None)
        return given_back(loaded.spec, loaded.before, now) if loaded else None

    def _load(self, wanted: ModelSpec, plan: Plan, cancelled: Callable[[], bool]) -> None:
        spec = plan.spec
        before, stamp = read_memory(), stamp_of(spec)
        predicted = predict(spec, before)
        if not self._fire("load", spec, "", before, need=plan.need):
            # Another program was quicker: what is free has shrunk since the plan was made.
            self._announced(self._planner.plan(wanted, self.settings.memory, read_memory()))
            raise MemoryRefusedError(f"{spec.name} does not fit any more.", "Try it again.")
        try:
            if cancelled():
                raise CancelledError  # noqa: TRY301  # it ends the load like any other failure
            limit, kept = self.settings.sessions.limit, spec.role is Role.INSTRUCT
            sessions = Sessions(self._paths.sessions, spec, limit, self._library.has_session) if kept else None
            model = engine.load(spec, on_progress=self._progress(spec), cancelled=cancelled)
            if isinstance(model, InstructModel):
                model.sessions = sessions
            loaded, after = Loaded(wanted, spec, stamp, model, before, predicted), read_memory()
        except BaseException as error:
            gc.collect()
            trim()
            self._fire("load_failed", spec, str(error), before)
            raise
        self._registry[spec.role] = loaded
        self._fire("loaded", spec, "", before, after)
        self._planner.record(spec, stamp, predicted, taken(before, after))

    def _tell(self, event: Planned | Receipt) -> None:
        """Publish what is good to know; that it cannot be sent is no reason to stop."""
        try:
            self._bus.publish(event)
        except redis.RedisError:
            log.exception("An event could not be published: %s", event)

    def _progress(self, spec: ModelSpec) -> Callable[[float], None]:
        sent = 0.0

        def progress(fraction: float) -> None:
            nonlocal sent
            if time.monotonic() - sent > PROGRESS_SECONDS:
                sent = time.monotonic()
                # Called by llama.cpp in the middle of a load, which a lost event is no reason to stop.
                with suppress(redis.RedisError):
                    self._bus.publish(LoadProgress(spec.role.value, spec.name, fraction))

        return progress

    def _wanted(self, role: Role) -> ModelSpec:
        configured = self.settings.role(role)
        known = self._known.get(role)
        if known and known.configured == configured and known.stamp == stamp_of(known.spec):
            return known.spec
        spec = resolve(self.settings, self._paths, role)
        self._known[role] = Known(configured, stamp_of(spec), spec)
        return spec

    # The machine's guards and its one callback.

    def fits(self, event: EventData) -> bool:
        return fits(event.kwargs["need"], event.kwargs["before"], self.settings.memory)

    def not_leased(self, _: EventData) -> bool:
        return self._leases == 0

    def _record(self, event: EventData) -> None:
        """Number the transition and put it in the outbox; nothing here can fail, so the machine cannot stick."""
        spec: ModelSpec = event.kwargs["spec"]
        taken = event.transition
        if taken is None:
            raise AssertionError("a state changes by a transition")
        phase = Phase[str(taken.dest)]
        now = time.monotonic()
        change = StateChanged(
            seq=self.snapshot.seq + 1,
            source=Phase[taken.source].value,
            to=phase.value,
            trigger=event.event.name,
            role=spec.role.value,
            model=spec.name,
            reason=event.kwargs["reason"],
            elapsed_ms=round((now - self._entered) * 1000, 3),
            starter=spec.starter,
            before=event.kwargs["before"],
            after=event.kwargs["after"],
        )
        self._entered = now
        shown = phase is not Phase.EMPTY
        self.snapshot = Snapshot(
            seq=change.seq,
            phase=phase.value,
            role=spec.role.value if shown else None,
            model=spec.name if shown else None,
            starter=shown and spec.starter,
            reason=change.reason,
            since=change.at,
            worker_pid=self.snapshot.worker_pid,
        )
        self._outbox.append((change, self.snapshot))
        log.info("%s → %s (%s) %s %s", change.source, change.to, change.trigger, change.role, change.reason)

    def _fire(
        self,
        trigger: str,
        spec: ModelSpec,
        reason: str,
        before: Memory | None = None,
        after: Memory | None = None,
        need: Footprint | None = None,
    ) -> bool:
        """Fire a trigger and publish the transition. Raises MachineError, with nothing changed, if it is not legal."""
        fired = self.trigger(trigger, spec=spec, reason=reason, before=before, after=after, need=need)
        self.publish()
        return fired

    def publish(self) -> None:
        """Send the transitions that were not sent yet, in order; those that cannot be sent wait for the next call."""
        while self._outbox:
            try:
                self._bus.publish(*self._outbox[0])
            except redis.RedisError:
                log.exception("A transition could not be published yet.")
                return
            self._outbox.pop(0)
