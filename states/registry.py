"""The loaded models, their leases, and the memory that each of them holds."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from core.llama import engine
from core.memory.footprint import RAM, Footprint
from core.memory.types import Memory
from core.model_files.spec import ModelSpec
from core.roles import Role
from states.memory_plan import WarmModel, needed
from states.reclaim import Taken, change


@dataclass(slots=True)
class Loaded:
    """A loaded model."""

    wanted: ModelSpec
    spec: ModelSpec
    """`wanted`, with the context and layers that the plan chose."""
    model: engine.Model
    predicted: Footprint
    """Before the load, without correction by measurements."""
    need: Footprint
    """`predicted`, corrected: the most that it is expected to take."""
    held: Taken
    """Until the registry's last reading."""
    used: float = field(default_factory=time.monotonic)
    """When it was last leased or released, by a clock that nobody sets."""


class Registry:
    """At most one loaded model for each role. Other threads may read it.

    One model computes at a time, so what the process takes between two readings belongs to the model in use.
    """

    def __init__(self) -> None:
        self._models: dict[Role, Loaded] = {}
        self._leases: list[Role] = []
        self._in_use: Role | None = None
        self._last = Memory()

    def __iter__(self) -> Iterator[Loaded]:
        """The least recently used first."""
        return iter(sorted(self._models.values(), key=lambda each: each.used))

    def __len__(self) -> int:
        return len(self._models)

    def __getitem__(self, role: Role) -> Loaded:
        return self._models[role]

    def get(self, role: Role) -> Loaded | None:
        return self._models.get(role)

    @property
    def roles(self) -> tuple[Role, ...]:
        """The least recently used first."""
        return tuple(each.spec.role for each in self)

    @property
    def leased(self) -> Collection[Role]:
        return self._leases

    def lease(self, role: Role) -> Loaded:
        """Lease a loaded model. Within the lease of another one, `settle` comes first."""
        loaded = self._models[role]
        loaded.used = time.monotonic()
        self._leases.append(role)
        self._in_use = role
        return loaded

    def release(self, role: Role) -> None:
        self._leases.remove(role)
        self._models[role].used = time.monotonic()

    def settle(self, now: Memory) -> None:
        """Count what the process took since the last reading as the model's in use, and begin anew."""
        grown, self._last = change(self._last, now), now
        fallen = max(0, -grown.mapped)
        for each in self:  # the kernel drops the file pages that were used least recently first
            dropped = min(fallen, each.held.mapped)
            each.held = replace(each.held, mapped=each.held.mapped - dropped)
            fallen -= dropped
        if self._in_use in self._models:
            loaded = self._models[self._in_use]
            loaded.held = loaded.held.plus(replace(grown, mapped=max(0, grown.mapped)))
        if self._leases:
            self._in_use = self._leases[-1]

    def exclude(self, now: Memory) -> None:
        """Count what the process took since the last reading as no model's."""
        self._last = now

    def add(self, loaded: Loaded, now: Memory) -> None:
        """Add a model that was loaded since the last reading."""
        self._last, self._in_use = now, loaded.spec.role
        self._models[loaded.spec.role] = loaded

    def remove(self, role: Role) -> None:
        del self._models[role]

    def held(self, loaded: Loaded, now: Memory) -> Taken:
        """What a model holds at this reading."""
        in_use = loaded.spec.role is self._in_use
        return loaded.held.plus(change(self._last, now)) if in_use else loaded.held

    def warm_models(self, now: Memory) -> list[WarmModel]:
        """What each model gives back and may still take, the least recently used first.

        Its file pages count as free, so that those it uses are among what it may still take.
        """
        return [_warm_model(each, self.held(each, now), now) for each in self]


def _warm_model(loaded: Loaded, held: Taken, now: Memory) -> WarmModel:
    unified = sum(held.devices.get(each.id, 0) for each in now.devices if each.unified)
    has = {RAM: held.own + unified, **held.devices}
    claims = {device: max(0, size - has.get(device, 0)) for device, size in needed(loaded.need, now).items()}
    return WarmModel(loaded.spec.role, held.own, held.devices, claims)
