"""The state of the machine in one line, on every screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.content import Content
from textual.widget import Widget

from app.widgets.figures import bar, gigabytes
from app.widgets.phases import LOOKS, LOST
from core.text import one_line

if TYPE_CHECKING:
    from textual import events

    from app.model_state import MachineView
    from app.tui import CharlieApp

GAP = "   "
NARROW = 100
LONGEST_NAME = 28
LONGEST_REASON = 60
PLAINLY = {"asked for": "unloaded by hand", "keep_alive is 0": "unloaded after its use (keep_alive 0)"}
"""The machine's reasons that say little without the transition they belong to."""


def status_line(view: MachineView, width: int) -> Content:
    """As many parts as fit into `width` cells, the last ones left out first; the phase is always there."""
    first, *rest = (part for part in _parts(view, width) if part.plain)
    line = first
    for part in rest:
        if line.cell_length + len(GAP) + part.cell_length > width:
            break
        line = Content.assemble(line, GAP, part)
    return line


def _parts(view: MachineView, width: int) -> list[Content]:
    cells = 5 if width < NARROW else 8
    return [_phase(view, cells), _subject(view, width), _rate(view), *_memory(view, cells), _queue(view)]


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


def _subject(view: MachineView, width: int) -> Content:
    """What the phase is about: role and model, or why nothing is loaded."""
    snapshot = view.snapshot
    if snapshot.worker_lost:
        return Content.styled(one_line(snapshot.reason, LONGEST_REASON), "$foreground-muted")
    if snapshot.phase == "empty":
        idle = PLAINLY.get(snapshot.reason, snapshot.reason) or "nothing loaded yet"
        reason = idle if snapshot.worker_pid is not None else "the worker is not running yet"
        return Content.styled(one_line(reason, min(LONGEST_REASON, max(20, width - 40))), "$foreground-muted")
    name = "starter" if snapshot.starter else one_line(snapshot.model or "", min(LONGEST_NAME, max(10, width // 4)))
    return Content.assemble(snapshot.role or "", (" · ", "$foreground-muted"), name)


def _rate(view: MachineView) -> Content:
    if view.tokens_per_second is None:
        return Content("")
    return Content.styled(
        f"{view.tokens_per_second:.0f} tok/s", "$text-accent" if view.generating else "$foreground-muted"
    )


def _memory(view: MachineView, cells: int) -> list[Content]:
    if view.memory is None:
        return []
    parts = []
    if view.memory.total:
        parts.append(_gauge("RAM", view.memory.total - view.memory.available, view.memory.total, cells))
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

    def _show(self, _: MachineView) -> None:
        self.refresh()

    def render(self) -> Content:
        return status_line(cast("CharlieApp", self.app).view, self.content_size.width)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.app.switch_mode("models")
