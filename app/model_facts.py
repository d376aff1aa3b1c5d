"""What is known of each role's model without loading it: its header, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import CharlieError
from core.settings import Role, load_settings

if TYPE_CHECKING:
    from core.events import Memory
    from core.footprint import Footprint
    from core.model_files import ModelSpec
    from core.paths import Paths
    from core.settings import MemorySettings, Settings
    from states.plan import Plan


@dataclass(frozen=True, slots=True)
class Known:
    """A model that can be read, the estimate of what it takes in RAM as it is wanted, and what must be left free."""

    role: Role
    spec: ModelSpec
    needs: Footprint
    reserve: MemorySettings

    def planned(self, memory: Memory) -> Plan:
        """What a load with this much free would choose, by the estimate alone; the worker's own plan knows more."""
        from core.footprint import Offload, estimate
        from states.plan import make_plan

        offloads = [Offload(device.id, device.free) for device in memory.devices]
        return make_plan(self.spec, lambda spec: estimate(spec, offloads), memory, self.reserve)


@dataclass(frozen=True, slots=True)
class Broken:
    """A model that cannot be used, and why."""

    role: Role
    error: CharlieError


Facts = Known | Broken


def read_facts(paths: Paths) -> tuple[Facts, ...]:
    """The facts of every role, from the settings as they are now: `charlie models use` counts at once.

    Blocks for as long as the files take to read.
    """
    try:
        settings = load_settings()
    except CharlieError as error:
        return tuple(Broken(role, error) for role in Role)
    return tuple(_read(settings, paths, role) for role in Role)


def _read(settings: Settings, paths: Paths, role: Role) -> Facts:
    from core.footprint import estimate
    from core.model_files import resolve

    try:
        spec = resolve(settings, paths, role)
    except CharlieError as error:
        return Broken(role, error)
    return Known(role, spec, estimate(spec), settings.memory)
