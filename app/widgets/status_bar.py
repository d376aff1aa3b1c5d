"""The state of the machine in one line, on every screen."""

from __future__ import annotations

from time import time as clock
from typing import TYPE_CHECKING, cast

from textual.content import Content
from textual.widget import Widget

from app.widgets.figures import bar, gigabytes
from app.widgets.phases import LOOKS, LOST
from app.widgets.sparkline import REDRAW_SECONDS, sparkline
from core.text import one_line

if TYPE_CHECKING:
    from textual import events

    from app.model_state import MachineView
    from app.tui import CharlieApp

GAP = "   "
NARROW = 100
LONGEST_NAME = 28
LONGEST_REASON = 60
SPARKS = (12, 8)
"""Cells of the line of RAM in use, the most that fit without another part being left out."""
GAUGE_ROOM = 33
"""Cells that the phase and a narrow gauge of RAM take beside the reason."""
PLAINLY = {"asked for": "unloaded by hand", "keep_alive is 0": "unloaded after its use (keep_alive 0)"}
"""The machine's reasons that say little without the transition they belong to."""
BRIEFLY = {"free memory fell under": "memory under", " GB of ": " of "}
"""What of a reason is said in fewer words, so that its figures and the gauge both have room."""
LEAST = 10


def status_line(view: MachineView, width: int, now: float) -> Content:
    """As many parts as fit into `width` cells, the last ones left out first; the phase is always there.

    In a wide bar the last minutes of RAM up to `now` (seconds since the epoch) go with it where there is room left.
    """
    for spark in SPARKS if width >= NARROW else ():
        parts = _parts(view, width, sparkline(view.readings, _total(view), now, spark))
        if sum(part.cell_length for part in parts) + len(GAP) * (len(parts) - 1) <= width:
            return Content(GAP).join(parts)
    line, *rest = _parts(view, width, "")
    for part in rest:
        if line.cell_length + len(GAP) + part.cell_length > width:
            break
        line = Content.assemble(line, GAP, part)
    return line


def _total(view: MachineView) -> int:
    return view.memory.total if view.memory else 0


def _parts(view: MachineView, width: int, spark: str) -> list[Content]:
    cells = 5 if width < NARROW else 8
    phase, short = _phase(view, cells), _short(view)
    room = width - phase.cell_length - len(GAP) - (short.cell_length + len(GAP) if short.plain else 0)
    parts = [phase, _subject(view, width, room), short, _rate(view), *_memory(view, cells, spark), _queue(view)]
    return [part for part in parts if part.plain]


def _phase(view: MachineView, cells: int) -> Content:
    if view.snapshot.worker_lost:
        return Content.assemble((f"{LOST.symbol} {LOST.word}", LOST.style), "  ", _attempt(view))
    look = LOOKS[view.snapshot.phase]
    phase = Content.styled(f"{look.symbol} {look.word}", look.style)
    if view.snapshot.phase != "loading":
        return phase
    full, rest = bar(view.fraction, cells)
    return Content.assemble(
        phase, " ", (full, "$text-warning"), (rest, "$foreground-disabled"), f" {view.fraction:.0%}".rjust(5)
    )


def _attempt(view: MachineView) -> str:
    if view.lost is None:
        return "starting it again"
    if view.lost.attempt > view.lost.attempts:
        return f"given up after {view.lost.attempts} attempts"
    return f"restarting ({view.lost.attempt} of {view.lost.attempts})"


def _subject(view: MachineView, width: int, room: int) -> Content:
    """What the phase is about, in at most `room` cells: role and model, or why nothing is loaded."""
    snapshot = view.snapshot
    if snapshot.worker_lost:
        return Content.styled(one_line(snapshot.reason, LONGEST_REASON), "$foreground-muted")
    if snapshot.phase == "empty":
        idle = PLAINLY.get(snapshot.reason, snapshot.reason) or "nothing loaded yet"
        reason = idle if snapshot.worker_pid is not None else "the worker is not running yet"
        limit = max(LEAST, min(LONGEST_REASON, room if view.short else width - GAUGE_ROOM))
        return Content.styled(one_line(_brief(reason, limit, view, width), limit), "$foreground-muted")
    limit = min(LONGEST_NAME, width // 4, room - len(f"{snapshot.role} · "))
    name = "starter model" if snapshot.starter else one_line(snapshot.model or "", max(limit, LEAST))
    return Content.assemble(snapshot.role or "", (" · ", "$foreground-muted"), name)


def _brief(reason: str, limit: int, view: MachineView, width: int) -> str:
    """A reason in fewer words where there is little room; what is in brackets goes first."""
    if width < NARROW or view.short:
        for long, brief in BRIEFLY.items():
            reason = reason.replace(long, brief)
    return reason if len(reason) <= limit else reason.partition(" (")[0]


def _short(view: MachineView) -> Content:
    """That an unload has not given its memory back."""
    if view.short is None:
        return Content("")
    kept = max(0, view.short.expected - view.short.returned)
    figures = f"! {gigabytes(kept)} of {gigabytes(view.short.expected)} GB not returned"
    return Content.styled(figures, "$text-warning")


def _rate(view: MachineView) -> Content:
    if view.tokens_per_second is None:
        return Content("")
    return Content.styled(
        f"{view.tokens_per_second:.0f} tok/s", "$text-accent" if view.generating else "$foreground-muted"
    )


def _memory(view: MachineView, cells: int, spark: str) -> list[Content]:
    if view.memory is None:
        return []
    parts = []
    if view.memory.total:
        ram = _gauge("RAM", view.memory.used, view.memory.total, cells)
        parts.append(Content.assemble(ram, (f" {spark}" if spark else "", "$foreground-muted")))
    if devices := view.memory.devices:
        total = sum(device.total for device in devices)
        parts.append(_gauge("VRAM", total - sum(device.free for device in devices), total, cells))
    return parts


def _gauge(label: str, used: int, total: int, cells: int) -> Content:
    full, rest = bar(used / total if total else 0, cells)
    style = "$text-error" if used > 0.95 * total else "$text-warning" if used > 0.85 * total else "$text-primary"
    figures = f" {gigabytes(used)}/{gigabytes(total)} GB"
    return Content.assemble((label, "$foreground-muted"), " ", (full, style), (rest, "$foreground-disabled"), figures)


def _queue(view: MachineView) -> Content:
    return Content.assemble(("queue ", "$foreground-muted"), f"{view.depth}")


class StatusBar(Widget):
    """Follows the app's view of the machine. A click opens the Models screen."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 1; background: $panel; color: $foreground; }
    StatusBar:hover { background: $panel-lighten-1; }
    """

    def on_mount(self) -> None:
        self.tooltip = "The state of the model; a click opens Models"
        self.watch(self.app, "view", self._show, init=False)
        self.set_interval(REDRAW_SECONDS, self.refresh)

    def _show(self, _: MachineView) -> None:
        self.refresh()

    def render(self) -> Content:
        return status_line(cast("CharlieApp", self.app).view, self.content_size.width, clock())

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.app.switch_mode("models")
