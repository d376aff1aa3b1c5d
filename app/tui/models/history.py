"""The transitions, the memory that each unload returned, policies, and the workers' starts and losses, newest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import assert_never

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from app.tui.shared.phase_looks import LOST, PHASE_LOOKS
from core.events.types import OfMachine, PolicyChanged, Receipt, StateChanged, WorkerLost, WorkerUp
from core.figures import clock, duration, size
from core.text import one_line

KEPT = 200
LONGEST_REASON = 200


def line(event: OfMachine) -> Content:
    """Time, change, duration, role and reason."""
    at = clock(event.at)
    reason_style = "$foreground-muted"
    match event:
        case StateChanged():
            source, to = PHASE_LOOKS[event.source], PHASE_LOOKS[event.to]
            change = Content.assemble((f"{source.word:>9}", "$foreground-muted"), " → ", (f"{to.word:<9}", to.style))
            took = f"{duration(event.elapsed_ms):>8}"
            about, reason = event.role or "", event.reason
        case Receipt():
            change = Content.styled(f"{'! memory kept' if event.short else 'memory returned':<21}", _style(event))
            took, about = f"{duration(event.seconds * 1000):>8}", event.role
            reason = f"{size(event.returned)} of {size(event.expected)} returned"
            reason_style = _style(event)
        case PolicyChanged():
            change, took, about = Content(f"{'policy':<21}"), " " * 8, event.policy
            reason = event.reason
        case WorkerUp():
            change, took, about = Content(f"{'worker started':<21}"), " " * 8, ""
            reason = f"process {event.pid}"
        case WorkerLost():
            change, took, about = Content.styled(f"{LOST.symbol + ' worker lost':<21}", LOST.style), " " * 8, ""
            reason = f"{event.reason}, attempt {event.attempt} of {event.attempts}"
        case _:
            assert_never(event)
    return Content.assemble(
        (at, "$foreground-muted"), "  ", change, "  ", (took, ""), "  ", f"{about:<9}", "  ",
        (one_line(reason, LONGEST_REASON), reason_style),
    )  # fmt: skip


def _style(receipt: Receipt) -> str:
    return "$text-warning" if receipt.short else "$foreground-muted"


class History(VerticalScroll):
    """Keeps the last transitions. A scrolled view stays in place when new lines appear above it."""

    DEFAULT_CSS = """
    History { height: 1fr; }
    History > Static { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._events: deque[OfMachine] = deque(maxlen=KEPT)

    def compose(self) -> ComposeResult:
        yield Static(Content.styled("no transition yet", "$foreground-muted"))

    def fill(self, past: Iterable[OfMachine]) -> None:
        """Show stored events, newest first, below the live ones that are newer."""
        read = list(past)
        later = [event for event in self._events if event not in read and read and event.at >= read[0].at]
        self._events = deque([*later, *read][:KEPT], maxlen=KEPT)
        self._draw()

    def add(self, event: OfMachine) -> None:
        """Put a new event on top, unless it is there already."""
        if event in self._events:
            return
        self._events.appendleft(event)
        self._draw()
        if self.scroll_offset.y > 0:
            self.scroll_to(y=self.scroll_offset.y + 1, animate=False)

    def _draw(self) -> None:
        if self._events:
            self.query_one(Static).update(Content("\n").join([line(event) for event in self._events]))
