"""The state of the machine in one line, on every screen."""

from __future__ import annotations

import re
from time import time as clock

from textual import events
from textual.content import Content
from textual.widget import Widget

from app.tui.host import host
from app.tui.machine_view import MachineView
from app.tui.shared.phase_looks import LOST, PHASE_LOOKS
from app.tui.shared.sparkline import REDRAW_SECONDS, sparkline
from core.events.types import Phase
from core.figures import bar, gib
from core.roles import Role
from core.text import one_line

GAP = "   "
NARROW = 100
LONGEST_NAME = 28
LONGEST_REASON = 60
SPARKS = (12, 8)
"""Cells of the sparkline of RAM; the largest number is taken for which no other part is left out."""
GAUGE_ROOM = 33
"""Cells of the phase and a narrow gauge of RAM, beside the reason."""
CLEARER = {"asked for": "unloaded by hand", "keep_alive is 0": "unloaded after its use (keep_alive 0)"}
"""Texts for reasons that say little without their transition."""
SHORTER = ((r"free memory fell under", "memory under"), (r" ([KMGT]iB) of (\S+ \1)", r" of \2"))
"""Shorter words for parts of a reason, so that its figures and the gauge both have room."""
SHORTEST_TEXT = 10


def status_line(view: MachineView, width: int, now: float) -> Content:
    """As many parts as fit into `width` cells: the last ones are left out first, the phase never.

    A wide bar with room left has a sparkline of RAM that ends `now` (seconds since the epoch).
    """
    total = view.memory.total if view.memory else 0
    for spark in SPARKS if width >= NARROW else ():
        parts = _parts(view, width, sparkline(view.readings, total, now, spark))
        if sum(part.cell_length for part in parts) + len(GAP) * (len(parts) - 1) <= width:
            return Content(GAP).join(parts)
    line, *rest = _parts(view, width, "")
    for part in rest:
        if line.cell_length + len(GAP) + part.cell_length > width:
            break
        line = Content.assemble(line, GAP, part)
    return line


def _parts(view: MachineView, width: int, spark: str) -> list[Content]:
    cells = 5 if width < NARROW else 8
    phase, short = _phase(view, cells), _short(view)
    fetch = _fetch(view)
    room = (
        width - phase.cell_length - len(GAP) - sum(len(GAP) + part.cell_length for part in (short, fetch) if part.plain)
    )
    queue = Content.assemble(("queue ", "$foreground-muted"), f"{view.depth}")
    parts = [phase, fetch, _subject(view, width, room), short, _rate(view), *_memory(view, cells, spark), queue]
    return [part for part in parts if part.plain]


def _phase(view: MachineView, cells: int) -> Content:
    if view.snapshot.worker_lost:
        return Content.assemble((f"{LOST.symbol} {LOST.word}", LOST.style), "  ", _attempt(view))
    look = PHASE_LOOKS[view.snapshot.phase]
    phase = Content.styled(f"{look.symbol} {look.word}", look.style)
    if view.snapshot.phase != Phase.LOADING:
        return phase
    full, rest = bar(view.fraction, cells)
    return Content.assemble(
        phase, " ", (full, "$text-warning"), (rest, "$foreground-disabled"), f" {view.fraction:.0%}".rjust(5)
    )


def _fetch(view: MachineView) -> Content:
    if view.fetch is None:
        return Content("")
    share = "…" if view.fetch.share is None else f"{view.fetch.share:.0%}"
    fetching = f"↓ {one_line(view.fetch.name, LONGEST_NAME)} {share}"
    return Content.assemble((fetching, "$text-accent"), (" F6 stops", "$foreground-muted"))


def _attempt(view: MachineView) -> str:
    if view.lost is None:
        return "restarting"
    if view.lost.attempt > view.lost.attempts:
        return f"given up after {view.lost.attempts} attempts"
    return f"restarting ({view.lost.attempt} of {view.lost.attempts})"


def _subject(view: MachineView, width: int, room: int) -> Content:
    """Roles and model of the phase, or the reason why none is loaded, in at most `room` cells.

    Beside several roles only the instruct model's name is shown, where there is room for it.
    """
    snapshot = view.snapshot
    if snapshot.worker_lost:
        return Content.styled(one_line(snapshot.reason, LONGEST_REASON), "$foreground-muted")
    if snapshot.phase == Phase.EMPTY:
        idle = CLEARER.get(snapshot.reason, snapshot.reason) or "nothing loaded yet"
        reason = idle if snapshot.worker_pid is not None else "the worker is not running yet"
        limit = max(SHORTEST_TEXT, min(LONGEST_REASON, room if view.short else width - GAUGE_ROOM))
        return Content.styled(one_line(_brief(reason, limit, view, width), limit), "$foreground-muted")
    role, model, spare = snapshot.role or "", snapshot.model or "", width // 4
    if several := snapshot.phase == Phase.WARM and len(snapshot.warm) > 1:
        models = {each.role: each.model for each in snapshot.warm}
        role, model = " + ".join(each for each in Role if each in models), models.get(Role.INSTRUCT, "")
        spare -= len(role) - len(Role.INSTRUCT)
    limit = min(LONGEST_NAME, spare, room - len(f"{role} · "))
    if several and (not model or limit < SHORTEST_TEXT):
        return Content(role)
    return Content.assemble(role, (" · ", "$foreground-muted"), one_line(model, max(limit, SHORTEST_TEXT)))


def _brief(reason: str, limit: int, view: MachineView, width: int) -> str:
    """The reason in fewer words if there is little room; the part in brackets goes first."""
    if width < NARROW or view.short:
        for long, brief in SHORTER:
            reason = re.sub(long, brief, reason)
    return reason if len(reason) <= limit else reason.partition(" (")[0]


def _short(view: MachineView) -> Content:
    """A warning if an unload has not returned all memory."""
    if view.short is None:
        return Content("")
    kept = max(0, view.short.expected - view.short.returned)
    figures = f"! {gib(kept)} of {gib(view.short.expected)} GiB not returned"
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
    figures = f" {gib(used)}/{gib(total)} GiB"
    return Content.assemble((label, "$foreground-muted"), " ", (full, style), (rest, "$foreground-disabled"), figures)


class StatusBar(Widget):
    """Follows the app's view of the machine. A click opens the Models screen."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 1; background: $panel; color: $foreground; }
    StatusBar:hover { background: $panel-lighten-1; }
    """

    def on_mount(self) -> None:
        self.tooltip = "State of the model; click for Models"
        self.watch(self.app, "view", self._show, init=False)
        self.set_interval(REDRAW_SECONDS, self.refresh)

    def _show(self, _: MachineView) -> None:
        self.refresh()

    def render(self) -> Content:
        return status_line(host(self).view, self.content_size.width, clock())

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.app.switch_mode("models")
