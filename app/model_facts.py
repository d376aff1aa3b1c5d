"""The header and the estimated memory of each role's model, without loading it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import CharlieError
from core.figures import size
from core.memory.footprint import Footprint, estimate
from core.memory.types import Memory
from core.model_files.spec import ModelSpec, resolve
from core.paths import Paths
from core.roles import Role
from core.settings import MemorySettings, Settings
from core.settings_file import load_settings
from states.memory_plan import Plan, make_plan


@dataclass(frozen=True, slots=True)
class UsableModel:
    """A model file, the estimate of its memory needs with the role's settings, and the memory to keep free.

    A `pinned` one stays loaded while it is idle.
    """

    role: Role
    spec: ModelSpec
    needs: Footprint
    reserve: MemorySettings
    pinned: bool = False

    def planned(self, memory: Memory) -> Plan:
        """The plan of a load with this much free memory, from the estimate; the worker's own plan is more exact."""
        return make_plan(self.spec, lambda spec: estimate(spec, memory.devices), memory, self.reserve)


@dataclass(frozen=True, slots=True)
class UnusableModel:
    """A role whose model file cannot be used, and the reason."""

    role: Role
    error: CharlieError


ModelFacts = UsableModel | UnusableModel


def read_facts(paths: Paths) -> tuple[ModelFacts, ...]:
    """The model of every role. Settings and files are read again, so `charlie models use` takes effect at once."""
    try:
        settings = load_settings()
    except CharlieError as error:
        return tuple(UnusableModel(role, error) for role in Role)
    return tuple(_read(settings, paths, role) for role in Role)


def expected_policy(facts: Sequence[ModelFacts], free: int) -> str:
    """Whether all models fit into `free` bytes of RAM at once, as "auto" has it, by their estimates."""
    needs = sum(each.needs.ram for each in facts if isinstance(each, UsableModel))
    return f"all models need {size(needs)}, which {'fit' if needs <= free else 'do not fit'} at once"


def _read(settings: Settings, paths: Paths, role: Role) -> ModelFacts:
    try:
        spec = resolve(settings, paths, role)
    except CharlieError as error:
        return UnusableModel(role, error)
    return UsableModel(role, spec, estimate(spec), settings.memory, settings.role(role).pinned)
