"""From the event bus to Textual: a thread follows the bus and posts its events; only handlers change state.

The app receives both messages first and posts a copy to the base screen of each mode that is mounted. They do not
bubble, so that a screen's copy does not return to the app.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from core.events.types import Event, JobChanged, JobProgress, QueueChanged, Snapshot

if TYPE_CHECKING:
    from core.events.bus import Bus

QUEUE_SECONDS = 0.05
"""The shortest time between two lengths of the queue, while many jobs are submitted."""
PROGRESS_SECONDS = 0.25
"""The shortest time between two progress events of a job: each redraws a part of the screen."""


@dataclass
class Happened(Message, bubble=False):
    """One event, in the order of the bus."""

    event: Event


@dataclass
class Began(Message, bubble=False):
    """The bus is connected, for the first time or again. What was known before may be out of date."""

    snapshot: Snapshot


def follow(bus: Bus, post: Callable[[Message], object], stop: Callable[[], bool]) -> None:
    """Post the events of the bus until `stop()`, in a thread of its own, from which `post` must be safe to call.

    Bursts are coalesced: of QueueChanged the last is posted, of JobProgress the first of each stage
    of a job, and then some each second.
    """
    length: QueueChanged | None = None
    posted = 0.0
    stage, progressed = ("", ""), 0.0
    for item in bus.follow(stop):
        if isinstance(item, JobProgress):
            if (item.id, item.stage) == stage and time.monotonic() - progressed < PROGRESS_SECONDS:
                continue
            stage, progressed = (item.id, item.stage), time.monotonic()
        if isinstance(item, QueueChanged):
            length = item
        # JobChanged says nothing about the length of the queue, so it does not have to wait for it.
        if length is not None and (
            not isinstance(item, QueueChanged | JobChanged) or time.monotonic() - posted >= QUEUE_SECONDS
        ):
            post(Happened(length))
            length, posted = None, time.monotonic()
        match item:
            case None | QueueChanged():
                continue
            case Snapshot():
                post(Began(item))
            case _:
                post(Happened(item))
