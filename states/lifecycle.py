"""The one declaration of the lifecycle: its states, its triggers, and what must hold for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """What is in memory. Which model that is, is data of the machine, not a state."""

    EMPTY = "empty"
    LOADING = "loading"
    WARM = "warm"
    UNLOADING = "unloading"


@dataclass(frozen=True, slots=True)
class Transition:
    """`trigger` leads from `source` to `dest`, if `guard` (a method of the manager) holds."""

    trigger: str
    source: Phase
    dest: Phase
    guard: str | None = None


TRANSITIONS = (
    Transition("load", Phase.EMPTY, Phase.LOADING, guard="fits"),
    Transition("loaded", Phase.LOADING, Phase.WARM),
    Transition("load_failed", Phase.LOADING, Phase.EMPTY),
    Transition("unload", Phase.WARM, Phase.UNLOADING, guard="not_leased"),
    Transition("unloaded", Phase.UNLOADING, Phase.EMPTY),
    Transition("unload_failed", Phase.UNLOADING, Phase.EMPTY),
)
"""Slow work stands between two transitions: `load` and `loaded` bracket the loading, `unload` and `unloaded`
the unloading; an exception in it fires the failure trigger, so the machine never sticks."""


def declared() -> list[dict[str, object]]:
    """The table in the form that `transitions` takes."""
    return [
        {"trigger": t.trigger, "source": t.source, "dest": t.dest, "conditions": t.guard or []} for t in TRANSITIONS
    ]
