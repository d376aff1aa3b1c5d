"""Reads a history of transitions and checks that it is legal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core.events.bus import Bus
from core.events.types import StateChanged
from states.lifecycle import TRANSITIONS

LEGAL = frozenset((each.trigger, each.source.value, each.dest.value) for each in TRANSITIONS)


class Change(NamedTuple):
    """One transition."""

    trigger: str
    source: str
    to: str
    role: str | None


def state_changes(bus: Bus, past: int = 0) -> list[StateChanged]:
    """The published transitions numbered above `past`, oldest first."""
    events = reversed(bus.transitions(10_000))
    return [event for event in events if isinstance(event, StateChanged) and event.seq > past]


def changes(bus: Bus, past: int = 0) -> list[Change]:
    return [Change(event.trigger, event.source, event.to, event.role) for event in state_changes(bus, past)]


def steps(history: Sequence[Change]) -> list[str]:
    """`trigger role` of each, to be compared with a list."""
    return [f"{change.trigger} {change.role}" for change in history]


def legal(history: Sequence[Change]) -> bool:
    """Whether each transition is declared and begins where the one before it ended, with the same model.

    A legal history has never had two models loaded: `load` leads from Empty alone.
    """
    phase, role = "empty", None
    for change in history:
        if (change.trigger, change.source, change.to) not in LEGAL or change.source != phase:
            return False
        if phase != "empty" and change.role != role:
            return False
        phase, role = change.to, change.role
    return True
