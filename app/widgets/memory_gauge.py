"""RAM and each GPU as stacked bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.content import Content
from textual.widget import Widget

from app.widgets.figures import gigabytes
from core.text import one_line

if TYPE_CHECKING:
    from app.model_state import MachineView
    from app.tui import CharlieApp
    from core.events import Memory

NARROW = 100
LABEL_WIDTH = 6
Part = tuple[str, int, str, str]
"""Name, bytes, the character it is drawn with, and its style."""


def gauge(memory: Memory | None, width: int) -> Content:
    """One line for RAM and one for each GPU, each at most `width` cells."""
    if memory is None or not memory.total:
        return Content.styled("RAM   not read yet: the worker measures it", "$foreground-muted")
    used = memory.total - memory.available
    worker = min(memory.process_rss, used)
    bars = [
        (
            "RAM",
            "",
            [
                ("worker", worker, "▇", "$text-primary"),
                ("others", used - worker, "▒", "$foreground-muted"),
                ("free", memory.available, "▁", "$foreground-disabled"),
            ],
        )
    ]
    for number, device in enumerate(memory.devices):
        taken = ("used", device.total - device.free, "▇", "$text-primary")
        free = ("free", device.free, "▁", "$foreground-disabled")
        bars.append((f"GPU {number}", one_line(device.name, 24) if width >= NARROW else "", [taken, free]))
    legends = [_legend(parts, name) for _, name, parts in bars]
    cells = max(10, width - LABEL_WIDTH - 2 - max(legend.cell_length for legend in legends))
    return Content("\n").join(
        Content.assemble((f"{label:<{LABEL_WIDTH}}", "bold"), _bar(parts, cells), "  ", legend)
        for (label, _, parts), legend in zip(bars, legends, strict=True)
    )


def _legend(parts: list[Part], name: str) -> Content:
    figures = [f"{what} {gigabytes(amount)}" for what, amount, _, _ in parts]
    total = sum(amount for _, amount, _, _ in parts)
    return Content.assemble(
        f"{' · '.join(figures)} of {gigabytes(total)} GB", (f"  {name}" if name else "", "$foreground-muted")
    )


def _bar(parts: list[Part], cells: int) -> Content:
    """The last part takes what rounding leaves over."""
    total = sum(amount for _, amount, _, _ in parts)
    drawn: list[tuple[str, str]] = []
    left = cells
    for number, (_, amount, character, style) in enumerate(parts, start=1):
        share = left if number == len(parts) else min(left, round(cells * amount / total) or (1 if amount else 0))
        left -= share
        drawn.append((character * share, style))
    return Content.assemble(*drawn)


class MemoryGauge(Widget):
    """Follows the app's view of the machine."""

    DEFAULT_CSS = "MemoryGauge { height: auto; }"

    def on_mount(self) -> None:
        self.watch(self.app, "view", self._show, init=False)

    def _show(self, _: MachineView) -> None:
        self.refresh(layout=True)

    def render(self) -> Content:
        return gauge(cast("CharlieApp", self.app).view.memory, self.content_size.width)
