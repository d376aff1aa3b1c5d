"""From the event bus to Textual: a thread follows the bus and posts what it reads; handlers alone change state.

The app receives both messages first, and sends each on to the base screen of every mode that is mounted.
They do not bubble, so a screen's copy does not come back to the app.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from core.events import Event, Snapshot

if TYPE_CHECKING:
    from core.bus import Bus


@dataclass
class Happened(Message, bubble=False):
    """One event, in the order of the bus. Handle it with `on_happened`."""

    event: Event


@dataclass
class Began(Message, bubble=False):
    """The bus was reached, or reached again after it was lost; what one knew before may be out of date."""

    snapshot: Snapshot


def follow(bus: Bus, post: Callable[[Message], object], stop: Callable[[], bool]) -> None:
    """Post what happens until `stop()`; runs in a thread of its own. `post` must be safe to call from there."""
    for item in bus.follow(stop):
        match item:
            case None:
                continue
            case Snapshot():
                post(Began(item))
            case _:
                post(Happened(item))
