"""Decides which models are in memory. A lease is the only way to a model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, overload

from core.errors import CharlieError, MemoryRefusedError, OutOfMemoryError, SettingsError
from core.events.bus import Bus
from core.events.types import Phase, Planned
from core.figures import exact_size
from core.llama import engine
from core.llama.calls import never
from core.llama.embedding import EmbeddingModel
from core.llama.instruct import InstructModel
from core.llama.reranker import RerankerModel
from core.memory.footprint import RAM
from core.memory.measured import Measured, MeasuredLoads
from core.memory.readings import read_memory
from core.memory.types import Memory
from core.model_files.spec import ModelSpec
from core.paths import Paths
from core.roles import Role
from core.settings import Policy, Settings
from core.settings_file import SettingsFile
from states.machine import ModelMachine
from states.memory_plan import Plan
from states.planner import Planner, smaller
from states.policy import PolicyChoice, RolePlans

log = logging.getLogger(__name__)


class ModelManager:
    """Loads, holds and unloads models. Only the worker's one thread may call it, apart from what is marked.

    A model is loaded beside others only where the plan proves that it fits.
    """

    def __init__(self, settings: SettingsFile, paths: Paths, bus: Bus) -> None:
        self._settings = settings
        self._planner = Planner(MeasuredLoads(bus.redis))
        self._machine = ModelMachine(settings, paths, bus, self._planner)
        self._registry = self._machine.registry
        self.announcer = self._machine.announcer
        self.next_roles: Callable[[], Collection[Role]] = tuple
        """The roles that the next waiting job needs: room is made with other models first."""
        self._plans = RolePlans(settings, paths, self._planner, self._registry, lambda: self.next_roles())
        self.last_used = time.monotonic()
        self.load_seconds = 0.0
        """The time that the last lease took to load its model; 0 when it was warm."""

    @property
    def settings(self) -> Settings:
        """The current settings of the file. Raises SettingsError."""
        return self._settings.current()

    @property
    def last_good_settings(self) -> Settings:
        """The settings, or the last valid ones while the file is broken. Eviction and the reserves follow these."""
        return self._settings.usable()

    @property
    def loaded_roles(self) -> tuple[Role, ...]:
        """The least recently used first. Any thread may read it."""
        return self._registry.roles

    def idle_seconds(self, role: Role) -> float:
        """Seconds since the last use of a loaded model; 0 while it is leased or not loaded. Any thread may call it."""
        loaded = self._registry.get(role)
        return 0.0 if loaded is None or role in self._registry.leased else time.monotonic() - loaded.used

    def wanted(self, role: Role) -> ModelSpec:
        """The spec of a role. Any thread may call it. Raises ModelFileError, SettingsError."""
        return self._plans.wanted(role)

    def is_warm(self, role: Role) -> bool:
        """Whether a lease of this role would begin at once. Raises ModelFileError, SettingsError."""
        return self._plans.is_warm(role)

    def can_warm_without_unloading(self, role: Role) -> bool:
        """Whether a lease of this role would unload no model. Any thread may call it. Raises CharlieError."""
        if not self._registry or self.is_warm(role):
            return True
        plan = self.plan(role)
        return plan.fits and not plan.unload

    def effective_policy(self) -> PolicyChoice:
        """Whether models stay beside each other at present, and why. Raises SettingsError."""
        choice = self._plans.choose(read_memory())
        self._announce_policy()
        return choice

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
            with self.announcer.beside():
                self._make_warm(self.wanted(role), cancelled)
            self.load_seconds = time.monotonic() - began
        elif len(self._registry) > 1 and self.settings.memory.policy is Policy.EXCLUSIVE:
            self._unload_idle('memory.policy is "exclusive"', [other for other in self.loaded_roles if other != role])
        self._settle_if(bool(self._registry.leased))
        model = self._registry.lease(role).model
        try:
            yield model
        finally:
            self._registry.release(role)
            self._settle_if(len(self._registry) > 1)
            self.last_used = time.monotonic()
        with suppress(SettingsError):
            if self._plans.undecided:  # only now, since it reads the headers of the other models
                self.effective_policy()

    def _settle_if(self, several: bool) -> None:
        """With several models, each has its own growth counted as its memory."""
        if several:
            self._registry.settle(read_memory())

    @contextmanager
    def excluded_from_model(self) -> Iterator[None]:
        """Memory allocated in this block is not counted as a model's, so no unload waits for it."""
        self._registry.settle(read_memory())
        yield
        self._registry.exclude(read_memory())

    def plan(self, role: Role, file: Path | None = None) -> Plan:
        """The plan of loading a role's model, or another file in its place. Loads nothing. Raises CharlieError."""
        return self._plans.of_role(role, file, read_memory())

    def measured(self, plan: Plan) -> Measured | None:
        """Predicted and actual memory of an earlier load of a plan's model with these settings."""
        return self._planner.loads.find(plan.spec)

    def short_of_memory(self, now: Memory) -> str:
        """The reason to unload what is idle: free memory is under a reserve. Empty when there is none.

        Only reads, so any thread may call it.
        """
        models = tuple(self._registry)
        if not models or self._machine.state is not Phase.WARM or self._registry.leased:
            return ""
        reserve = self.last_good_settings.memory
        if now.available < reserve.ram_reserve:
            return (
                f"free memory fell under the reserve ({exact_size(now.available)} of {exact_size(reserve.ram_reserve)})"
            )
        used = {id_ for each in models for id_, size in self._registry.held(each, now).devices.items() if size}
        for device in now.devices:
            if device.id in used and device.free < reserve.vram_reserve:
                return f"free memory of {device.name} fell under the reserve ({exact_size(device.free)})"
        return ""

    def give_up(self, reason: str) -> Role | None:
        """Unload the least recently used model that is neither leased nor pinned, else a pinned one; returns it."""
        first = self._plans.order_of_unloading()[:1]
        self._unload_idle(reason, first)
        return first[0] if first else None

    def unload_role(self, role: Role, reason: str) -> bool:
        """Unload the model of a role; False when there was none. Raises CharlieError while it is leased."""
        return bool(self._unload_idle(reason, [each for each in self.loaded_roles if each is role]))

    def unload_all(self, reason: str) -> tuple[Role, ...]:
        """Unload all models; returns their roles. Raises CharlieError, and unloads none, while one is leased."""
        return self._unload_idle(reason, self.loaded_roles)

    def leave(self) -> None:
        """Unload, and announce that no worker serves from now on."""
        self.unload_all("the worker ends")
        self.announcer.leave()

    def _unload_idle(self, reason: str, roles: Collection[Role]) -> tuple[Role, ...]:
        self._refuse_leased(roles)
        now = read_memory() if roles else None
        for role in roles:
            now = self._machine.unload_model(role, reason, now or read_memory())
        return tuple(roles)

    def _refuse_leased(self, roles: Collection[Role]) -> None:
        if any(role in self._registry.leased for role in roles):
            raise CharlieError("The model is in use.", "Wait for the reply, or stop it first.")

    def _make_warm(self, spec: ModelSpec, cancelled: Callable[[], bool]) -> None:
        """Plan, make room, load; if memory runs out in spite of the plan, load again with less."""
        plan = self._make_room(spec)
        try:
            self._machine.load_model(spec, plan, cancelled)
        except MemoryRefusedError:  # another program took memory after the plan was made
            self._machine.load_model(spec, self._make_room(spec), cancelled)
        except OutOfMemoryError as error:
            self._retry(spec, plan, error, cancelled)

    def _make_room(self, spec: ModelSpec) -> Plan:
        """The plan of a spec, after what has to go for it was unloaded.

        A spec that cannot fit even then is refused before anything is unloaded, like one beside a leased model that
        has to go. Raises MemoryRefusedError, CharlieError.
        """
        now = read_memory()
        plan = self._plans.of_spec(spec, now)
        self._announce_policy()
        self._refuse_leased([spec.role, *map(Role, plan.unload)])
        self._announced(plan)
        while plan.unload:
            for role in map(Role, plan.unload):
                now = self._machine.unload_model(role, f"{spec.role} is wanted", now) or read_memory()
            again = self._plans.of_spec(spec, now)  # not all memory may have come back
            same = again.fits and again.spec == plan.spec and not again.unload
            plan = again if same else self._announced(again)
        return plan

    def _retry(self, spec: ModelSpec, plan: Plan, error: OutOfMemoryError, cancelled: Callable[[], bool]) -> None:
        """Load once more: alone if there are other models, else with less context, layers or batch."""
        others = self._plans.order_of_unloading()
        self._unload_idle(f"memory ran out while {spec.role} was loaded", others)
        reduced = spec if others else smaller(spec, plan.spec)
        if reduced is None:
            raise MemoryRefusedError(error.message, error.hint) from error
        log.warning("%s It is loaded again with %s.", error.message, "nothing beside it" if others else "less")
        plan = self._announced(self._plans.of_spec(reduced, read_memory()))
        try:
            self._machine.load_model(spec, plan, cancelled)
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

    def _announce_policy(self) -> None:
        if choice := self._plans.choice:
            self.announcer.set_policy(choice.policy.value, choice.reason)
