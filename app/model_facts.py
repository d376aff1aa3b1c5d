"""What is known of each role's model without loading it: its header, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import CharlieError
from core.settings import Role, load_settings

if TYPE_CHECKING:
    from core.footprint import Footprint
    from core.model_files import ModelSpec
    from core.paths import Paths
    from core.settings import MemorySettings, Settings


@dataclass(frozen=True, slots=True)
class Known:
    """A model that can be read, the estimate of what it takes to load it, and what must be left free then."""

    role: Role
    spec: ModelSpec
    needs: Footprint
    reserve: MemorySettings


@dataclass(frozen=True, slots=True)
class Broken:
    """A model that cannot be used, and why."""

    role: Role
    error: CharlieError


Facts = Known | Broken


def read_facts(paths: Paths) -> tuple[Facts, ...]:
    """The facts of every role, from the settings as they are now: `charlie models use` counts at once.

    Blocks for as long as the files take to read, and builds starter models that are missing.
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
