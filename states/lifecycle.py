"""The lifecycle, declared once: states, triggers and guards."""

from __future__ import annotations

from dataclasses import dataclass

from core.events.types import Phase


@dataclass(frozen=True, slots=True)
class Transition:
    """`trigger` leads from `source` to `dest` if `guard`, a method of the manager, is true."""

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
"""Slow work stands between two transitions: the load between `load` and `loaded`, the unload between `unload` and
`unloaded`. An exception in it fires the failure trigger, so the machine never gets stuck."""


def machine_transitions() -> list[dict[str, object]]:
    """The table in the format of the library `transitions`."""
    return [
        {"trigger": t.trigger, "source": t.source, "dest": t.dest, "conditions": t.guard or []} for t in TRANSITIONS
    ]
