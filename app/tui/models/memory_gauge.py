"""RAM and each GPU as stacked bars, and the last minutes of RAM."""

from __future__ import annotations

from time import time as clock

from textual.content import Content
from textual.widget import Widget

from app.tui.host import host
from app.tui.machine_view import SPAN_SECONDS, MachineView
from app.tui.shared.sparkline import REDRAW_SECONDS, sparkline
from core.figures import gib
from core.text import one_line

NARROW = 100
LABEL_WIDTH = 6
SHOWN_PRESSURE = 1.0
"""Per cent of time that programs wait for memory; less is not shown."""
Part = tuple[str, int, str, str]
"""Name, bytes, character and style."""


def gauge(view: MachineView, width: int, now: float) -> Content:
    """RAM, its last minutes before `now`, then a line for each GPU; each at most `width` cells."""
    memory = view.memory
    if memory is None or not memory.total:
        return Content.styled("RAM   not measured yet", "$foreground-muted")
    used = memory.total - memory.available
    worker = min(memory.process_rss, used)
    ram = [
        ("worker", worker, "▇", "$text-primary"),
        ("others", used - worker, "▒", "$foreground-muted"),
        ("free", memory.available, "▁", "$foreground-disabled"),
    ]
    bars = [("RAM", "", ram)]
    for number, device in enumerate(memory.devices):
        taken = ("used", device.total - device.free, "▇", "$text-primary")
        free = ("free", device.free, "▁", "$foreground-disabled")
        bars.append((f"GPU {number}", one_line(device.name, 24) if width >= NARROW else "", [taken, free]))
    legends = [_legend(parts, name) for _, name, parts in bars]
    if memory.pressure is not None and memory.pressure >= SHOWN_PRESSURE:
        legends[0] = Content.assemble(legends[0], (f" · pressure {memory.pressure:.0f}%", "$text-warning"))
    cells = max(10, width - LABEL_WIDTH - 2 - max(legend.cell_length for legend in legends))
    lines = [
        Content.assemble((f"{label:<{LABEL_WIDTH}}", "bold"), _bar(parts, cells), "  ", legend)
        for (label, _, parts), legend in zip(bars, legends, strict=True)
    ]
    if past := sparkline(view.readings, memory.total, now, cells):
        label = f"in use, the last {SPAN_SECONDS / 60:.0f} minutes"
        lines.insert(
            1, Content.assemble(" " * LABEL_WIDTH, (past, "$text-primary"), "  ", (label, "$foreground-muted"))
        )
    return Content("\n").join(lines)


def _legend(parts: list[Part], name: str) -> Content:
    figures = [f"{what} {gib(amount)}" for what, amount, _, _ in parts]
    total = sum(amount for _, amount, _, _ in parts)
    return Content.assemble(
        f"{' · '.join(figures)} of {gib(total)} GiB", (f"  {name}" if name else "", "$foreground-muted")
    )


def _bar(parts: list[Part], cells: int) -> Content:
    """The last part takes the cells that rounding leaves."""
    total = sum(amount for _, amount, _, _ in parts)
    drawn: list[tuple[str, str]] = []
    left = cells
    for number, (_, amount, character, style) in enumerate(parts, start=1):
        share = left if number == len(parts) else min(left, round(cells * amount / total) or (1 if amount else 0))
        left -= share
        drawn.append((character * share, style))
    return Content.assemble(*drawn)


class MemoryGauge(Widget):
    """Redraws when the app's MachineView changes, and as time passes."""

    DEFAULT_CSS = "MemoryGauge { height: auto; }"

    def on_mount(self) -> None:
        self.watch(self.app, "view", self._show, init=False)
        self.set_interval(REDRAW_SECONDS, self.refresh)

    def _show(self, _: MachineView) -> None:
        self.refresh(layout=True)

    def render(self) -> Content:
        return gauge(host(self).view, self.content_size.width, clock())
