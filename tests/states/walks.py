"""Reads a history of transitions and checks that it is legal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.client import Client
from core.events.bus import Bus
from core.events.types import StateChanged
from core.roles import Role
from states.lifecycle import TRANSITIONS
from states.manager import ModelManager

LOAD = ["load instruct", "loaded instruct"]
UNLOAD = ["unload instruct", "unloaded instruct"]
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


def most_loaded(history: Sequence[Change]) -> int:
    """The most models that were loaded at once; -1 for an illegal history.

    Each transition is declared and begins where the one before it ended, with the same model while it loads or
    unloads; a role is loaded once at most; and Warm means that a model is loaded, Empty that none is.
    """
    phase, busy, loaded, most = "empty", None, set[str | None](), 0
    for change in history:
        if (change.trigger, change.source, change.to) not in LEGAL or change.source != phase:
            return -1
        if phase in ("loading", "unloading") and change.role != busy:
            return -1
        if (change.trigger == "load" and change.role in loaded) or (
            change.trigger == "unload" and change.role not in loaded
        ):
            return -1
        if change.trigger == "loaded":
            loaded.add(change.role)
        elif change.trigger in ("unloaded", "unload_failed"):
            loaded.remove(change.role)
        phase, busy, most = change.to, change.role, max(most, len(loaded))
        if phase in ("warm", "empty") and bool(loaded) is not (phase == "warm"):
            return -1
    return most


def legal(history: Sequence[Change]) -> bool:
    return most_loaded(history) >= 0


def warm(manager: ModelManager, *roles: Role) -> None:
    for role in roles:
        with manager.lease(role):
            pass


def published(client: Client) -> list[str]:
    """The steps so far, after a look at their order and at the snapshot."""
    history = changes(client.bus)
    assert legal(history)
    events, snapshot = state_changes(client.bus), client.snapshot()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    if events:
        last = events[-1]
        assert (snapshot.seq, snapshot.phase, snapshot.since) == (last.seq, last.to, last.at)
        warm_role = snapshot.warm[-1].role if snapshot.warm else None
        assert snapshot.role == (last.role if last.to in ("loading", "unloading") else warm_role)
    return steps(history)
