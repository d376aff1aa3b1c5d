"""How far a completion is, as the interface is told."""

from __future__ import annotations

from core.bus import Bus
from core.events import Event, JobProgress, Snapshot
from tasks.tools import Meter


class Heard(Bus):
    """Keeps what is published, in place of a database."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: Event, snapshot: Snapshot | None = None) -> None:
        assert snapshot is None
        self.events.append(event)


def test_one_token_has_no_rate() -> None:
    heard = Heard()
    Meter(heard, "job").decoded()
    (event,) = heard.events
    assert isinstance(event, JobProgress)
    assert (event.done, event.tokens_per_second) == (1, 0.0)
