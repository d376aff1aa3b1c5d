"""The lifecycle, declared once: states, triggers and guards."""

from __future__ import annotations

from typing import NamedTuple

from core.events.types import Phase


class Transition(NamedTuple):
    """`trigger` leads from `source` to `dest` if `guard`, a method of the manager, is true.

    In the order of the library's `add_transition`.
    """

    trigger: str
    source: Phase
    dest: Phase
    guard: str | None = None


TRANSITIONS = (
    Transition("load", Phase.EMPTY, Phase.LOADING, guard="fits"),
    Transition("load", Phase.WARM, Phase.LOADING, guard="fits"),
    Transition("loaded", Phase.LOADING, Phase.WARM),
    Transition("load_failed", Phase.LOADING, Phase.WARM, guard="others_loaded"),
    Transition("load_failed", Phase.LOADING, Phase.EMPTY, guard="none_loaded"),
    Transition("unload", Phase.WARM, Phase.UNLOADING, guard="not_leased"),
    Transition("unloaded", Phase.UNLOADING, Phase.WARM, guard="others_loaded"),
    Transition("unloaded", Phase.UNLOADING, Phase.EMPTY, guard="none_loaded"),
    Transition("unload_failed", Phase.UNLOADING, Phase.WARM, guard="others_loaded"),
    Transition("unload_failed", Phase.UNLOADING, Phase.EMPTY, guard="none_loaded"),
)
"""Slow work stands between two transitions: the load between `load` and `loaded`, the unload between `unload` and
`unloaded`. An exception in it fires the failure trigger, so the machine never gets stuck. From Warm, a model is loaded
beside the others; Warm holds until the last of them is unloaded."""
