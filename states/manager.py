"""Decides which model is in memory. A lease is the only way to a model."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

from transitions import EventData, Machine

from core.errors import CancelledError, CharlieError, MemoryRefusedError, OutOfMemoryError
from core.events.bus import Bus
from core.events.types import Phase, Planned, Receipt
from core.figures import exact_size
from core.library.conversations import Conversations
from core.library.journal import JOURNAL, Journal
from core.llama import engine
from core.llama.calls import never
from core.llama.embedding import EmbeddingModel
from core.llama.instruct import InstructModel
from core.llama.reranker import RerankerModel
from core.llama.session_cache import SessionCache
from core.memory.footprint import RAM, Footprint
from core.memory.measured import Measured, MeasuredLoads
from core.memory.readings import read_memory
from core.memory.types import Memory
from core.model_files.spec import ModelSpec, resolve
from core.paths import Paths
from core.roles import Role
from core.settings import Settings
from core.settings_file import SettingsFile
from states.announcer import Announcer
from states.lifecycle import TRANSITIONS
from states.memory_plan import Plan, WarmModel, fits
from states.planner import Planner, given_back, predict, smaller
from states.reclaim import await_return, taken, trim

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loaded model in the registry."""

    wanted: ModelSpec
    spec: ModelSpec
    """`wanted`, with the context and layers that the plan chose."""
    model: engine.Model
    before: Memory
    """Read before the load."""
    predicted: Footprint
    """Before the load, without correction by measurements."""


class ModelManager:
    """Loads, holds and unloads models. Only the worker's one thread may call it, apart from what is marked.

    Whatever is loaded is unloaded before another load, so the registry holds one model at most. Slow work stands
    between two triggers, never in a callback of the machine.
    """

    state: Phase
    trigger: Callable[..., bool]

    def __init__(self, settings: SettingsFile, paths: Paths, bus: Bus) -> None:
        self._settings = settings
        self._paths = paths
        self.announcer = Announcer(bus)
        self._conversations = Conversations(bus.redis)
        self._journal = Journal(bus.redis)
        self._registry: dict[Role, Loaded] = {}
        self._specs: dict[Role, tuple[object, ModelSpec]] = {}
        """The last resolved spec of each role, and the settings that it is for."""
        self._planner = Planner(MeasuredLoads(bus.redis))
        self._leases = 0
        self.last_used = time.monotonic()
        self.load_seconds = 0.0
        """The time that the last lease took to load its model; 0 when it was warm."""
        Machine(
            model=self,
            states=Phase,
            transitions=list(map(list, TRANSITIONS)),
            initial=Phase.EMPTY,
            auto_transitions=False,
            send_event=True,
            after_state_change=self.announcer.record,
        )

    @property
    def settings(self) -> Settings:
        """The current settings of the file. Raises SettingsError."""
        return self._settings.current()

    @property
    def last_good_settings(self) -> Settings:
        """The settings, or the last valid ones while the file is broken. Eviction and the reserves follow these."""
        return self._settings.usable()

    def is_warm(self, role: Role) -> bool:
        """Whether a lease of this role would begin at once. Raises ModelFileError, SettingsError."""
        loaded = self._registry.get(role)
        return loaded is not None and loaded.wanted == self.wanted(role)

    def can_warm_without_unloading(self, role: Role) -> bool:
        """Whether a lease of this role would unload no model. Raises ModelFileError, SettingsError."""
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
    @contextmanager
    def lease(self, role: Role, cancelled: Callable[[], bool] = never) -> Iterator[Any]:
        """Make the role warm and hold its model. A leased model is never unloaded.

        Raises ModelFileError, SettingsError, MemoryRefusedError, LoadFailedError, CancelledError.
        """
        began = time.monotonic()
        self.load_seconds = 0.0
        if not self.is_warm(role):
            self._swap(self.wanted(role), cancelled)
            self.load_seconds = time.monotonic() - began
        self._leases += 1
        try:
            yield self._registry[role].model
        finally:
            self._leases -= 1
            self.last_used = time.monotonic()

    @contextmanager
    def excluded_from_model(self) -> Iterator[None]:
        """Memory allocated in this block is not counted as the model's, so its unload does not wait for it."""
        before = read_memory()
        yield
        after = read_memory()
        for role, loaded in self._registry.items():
            rss = loaded.before.process_rss + after.process_rss - before.process_rss
            file = loaded.before.process_file + after.process_file - before.process_file
            self._registry[role] = replace(loaded, before=replace(loaded.before, process_rss=rss, process_file=file))

    def plan(self, role: Role, file: Path | None = None) -> Plan:
        """The plan of loading a role's model, or another file in its place. Loads nothing. Raises CharlieError."""
        if file is None and self.is_warm(role):
            loaded = self._registry[role].spec
            as_it_is = replace(loaded, least_context=loaded.context_length, least_gpu_layers=loaded.gpu_layers)
            now = read_memory()
            plan = self._planner.plan(as_it_is, self.settings.memory, now, self._warm_models(now))
            reason = f"is warm with {loaded.context_length:,} tokens"
            return replace(plan, spec=loaded, fits=True, unload=(), reason=reason, hint="")
        spec = resolve(self.settings, self._paths, role, file) if file else self.wanted(role)
        now = read_memory()
        return self._planner.plan(spec, self.settings.memory, now, self._warm_models(now))

    def measured(self, plan: Plan) -> Measured | None:
        """Predicted and actual memory of an earlier load of a plan's model with these settings."""
        return self._planner.loads.find(plan.spec)

    def short_of_memory(self, now: Memory) -> str:
        """The reason to unload what is idle: free memory is under a reserve. Empty when there is none.

        Only reads, so any thread may call it.
        """
        models = tuple(self._registry.values())
        if not models or self.state is not Phase.WARM or self._leases:
            return ""
        reserve = self.last_good_settings.memory
        if now.available < reserve.ram_reserve:
            return (
                f"free memory fell under the reserve ({exact_size(now.available)} of {exact_size(reserve.ram_reserve)})"
            )
        used = {id_ for each in models for id_, size in taken(each.before, now).devices.items() if size}
        for device in now.devices:
            if device.id in used and device.free < reserve.vram_reserve:
                return f"free memory of {device.name} fell under the reserve ({exact_size(device.free)})"
        return ""

    def unload_model(self, reason: str) -> bool:
        """Unload what is warm; False when nothing was. Raises CharlieError while it is leased."""
        roles = tuple(self._registry)
        for role in roles:
            self._unload(role, reason, read_memory())
        return bool(roles)

    def _unload(self, role: Role, reason: str, before: Memory) -> Memory | None:
        """Unload a warm model. Returns the memory after it, None where that could not be read."""
        loaded = self._registry[role]
        began = time.monotonic()
        if not self._fire("unload", loaded.spec, reason):
            raise CharlieError("The model is in use.", "Wait for the reply, or stop it first.")
        took = taken(loaded.before, before)
        self._planner.record(loaded.spec, loaded.predicted, took, loaded.model.copied_bytes)
        spec, expected = loaded.spec, took.total
        failure, after = "", None
        try:
            if isinstance(loaded.model, InstructModel):
                loaded.model.save_session()
            loaded.model.close()
        except Exception as error:
            log.exception("Closing %s failed; it is abandoned.", spec.name)
            failure = f"closing it failed: {error}"
        del loaded, self._registry[role]
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
            self.announcer.inform(Receipt(spec.role.value, spec.name, before, after, expected, back, seconds))
        return after

    def leave(self) -> None:
        """Unload, and announce that no worker serves from now on."""
        self.unload_model("the worker ends")
        self.announcer.leave()

    def _swap(self, spec: ModelSpec, cancelled: Callable[[], bool]) -> None:
        """Plan, unload what is warm, load; if memory runs out in spite of the plan, load again with less.

        A spec that cannot fit even alone is refused before anything is unloaded.
        """
        now = read_memory()
        plan = self._announced(self._planner.plan(spec, self.settings.memory, now, self._warm_models(now)))
        roles = tuple(self._registry)
        for role in roles:
            now = self._unload(role, f"{spec.role} is wanted", now) or read_memory()
        if roles:  # planned again with what is free now: not all memory may have come back
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
        log.warning("%s It is loaded again with less.", error.message)
        plan = self._announced(self._planner.plan(reduced, self.settings.memory, read_memory()))
        try:
            self._load(spec, plan, cancelled)
        except OutOfMemoryError as again:
            needed, free = exact_size(plan.needed[RAM]), exact_size(plan.available[RAM])
            raise MemoryRefusedError(
                f"{again.message} The plan needed {needed} of RAM, and {free} were free.", again.hint
            ) from again

    def _announced(self, plan: Plan) -> Plan:
        """Publish a plan. Raises MemoryRefusedError for one that does not fit."""
        spec = plan.spec
        self.announcer.inform(
            Planned(
                spec.role.value, spec.name, plan.fits, plan.needed, plan.available, plan.unload,
                spec.gpu_layers, spec.context_length, plan.reason,
            )
        )  # fmt: skip
        if not plan.fits:
            raise MemoryRefusedError(plan.reason, plan.hint)
        return plan

    def _warm_models(self, now: Memory) -> tuple[WarmModel, ...]:
        return tuple(given_back(each.spec, each.before, now) for each in self._registry.values())

    def _load(self, wanted: ModelSpec, plan: Plan, cancelled: Callable[[], bool]) -> None:
        spec = plan.spec
        before = read_memory()
        predicted = predict(spec, before)
        if not self._fire("load", spec, "", before, need=plan.need):
            # Another program took memory after the plan was made.
            self._announced(self._planner.plan(wanted, self.settings.memory, read_memory()))
            raise MemoryRefusedError(f"{spec.name} does not fit any more.", "Try it again.")
        try:
            if cancelled():
                raise CancelledError  # noqa: TRY301  # it ends the load like any other failure
            limit, kept = self.settings.sessions.limit, spec.role is Role.INSTRUCT
            sessions = SessionCache(self._paths.sessions, spec, limit, self._has_session) if kept else None
            model = engine.load(spec, on_progress=self.announcer.load_progress(spec), cancelled=cancelled)
            if isinstance(model, InstructModel):
                model.sessions = sessions
            loaded, after = Loaded(wanted, spec, model, before, predicted), read_memory()
        except BaseException as error:
            gc.collect()
            trim()
            self._fire("load_failed", spec, str(error), before)
            raise
        self._registry[spec.role] = loaded
        self._fire("loaded", spec, "", before, after)
        self._planner.record(spec, predicted, taken(before, after), model.copied_bytes)

    def _has_session(self, name: str) -> bool:
        """Whether a KV cache may be saved under this name: a conversation's, or the current journal's."""
        if name.startswith(JOURNAL):
            return name == self._journal.journal_session()
        return self._conversations.has_conversation(name)

    def wanted(self, role: Role) -> ModelSpec:
        """The spec of a role, resolved again only after a change. Any thread may call it.

        Raises ModelFileError, SettingsError.
        """
        configured = self.settings.role(role)
        known, spec = self._specs.get(role, (None, None))
        if spec is None or known != configured or not spec.header.is_of(spec.path):
            spec = resolve(self.settings, self._paths, role)
            self._specs[role] = configured, spec
        return spec

    # The machine's guards.

    def fits(self, event: EventData) -> bool:
        return fits(event.kwargs["need"], event.kwargs["before"], self.settings.memory)

    def not_leased(self, _: EventData) -> bool:
        return self._leases == 0

    def _fire(
        self,
        trigger: str,
        spec: ModelSpec,
        reason: str,
        before: Memory | None = None,
        after: Memory | None = None,
        need: Footprint | None = None,
    ) -> bool:
        """Fire a trigger and publish the transition. Raises MachineError, with nothing changed, where it is illegal."""
        fired = self.trigger(trigger, spec=spec, reason=reason, before=before, after=after, need=need)
        self.announcer.publish()
        return fired
