"""From the event bus to Textual: a thread follows the bus and posts what it reads; handlers alone change state.

The app receives both messages first, and sends each on to the base screen of every mode that is mounted.
They do not bubble, so a screen's copy does not come back to the app.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from core.events import Event, JobChanged, JobProgress, QueueChanged, Snapshot

if TYPE_CHECKING:
    from core.bus import Bus

SECONDS = 0.05
"""The length of the queue is told at most this often while many jobs are asked for."""
PROGRESS_SECONDS = 0.25
"""How far a job is, is told at most this often: each time some of the screen is drawn anew."""


@dataclass
class Happened(Message, bubble=False):
    """One event, in the order of the bus. Handle it with `on_happened`."""

    event: Event


@dataclass
class Began(Message, bubble=False):
    """The bus was reached, or reached again after it was lost; what one knew before may be out of date."""

    snapshot: Snapshot


class Progress:
    """Which progress is to be told: the first of each stage of a job, and then some times a second."""

    def __init__(self) -> None:
        self._of = ("", "")
        self._told = 0.0

    def due(self, item: JobProgress) -> bool:
        now = time.monotonic()
        if (item.id, item.stage) == self._of and now - self._told < PROGRESS_SECONDS:
            return False
        self._of, self._told = (item.id, item.stage), now
        return True


def follow(bus: Bus, post: Callable[[Message], object], stop: Callable[[], bool]) -> None:
    """Post what happens until `stop()`; runs in a thread of its own. `post` must be safe to call from there.

    Of lengths of the queue that follow each other quickly only the last is posted, and of progress only the first.
    """
    length: QueueChanged | None = None
    told = 0.0
    progress = Progress()
    for item in bus.follow(stop):
        if isinstance(item, JobProgress) and not progress.due(item):
            continue
        if isinstance(item, QueueChanged):
            length = item
        # Only what is about a job is not held up by a length: it says nothing of how long the queue is.
        if length is not None and (
            not isinstance(item, QueueChanged | JobChanged) or time.monotonic() - told >= SECONDS
        ):
            post(Happened(length))
            length, told = None, time.monotonic()
        match item:
            case None | QueueChanged():
                continue
            case Snapshot():
                post(Began(item))
            case _:
                post(Happened(item))
