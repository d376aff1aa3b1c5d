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
Part = tuple[str, int, str, str]
"""Name, bytes, the character it is drawn with, and its style."""


def gauge(memory: Memory | None, width: int) -> Content:
    """One line for RAM and one for each GPU, each at most `width` cells."""
    if memory is None or not memory.total:
        return Content.styled("RAM   not read yet: the worker measures it", "$text-muted")
    used = memory.total - memory.available
    worker = min(memory.process_rss, used)
    parts = [
        ("worker", worker, "▇", "$text-primary"),
        ("others", used - worker, "▒", "$text-muted"),
        ("free", memory.available, "▁", "$text-disabled"),
    ]
    lines = [_line("RAM", "", parts, memory.total, width)]
    for number, device in enumerate(memory.devices):
        parts = [
            ("used", device.total - device.free, "▇", "$text-primary"),
            ("free", device.free, "▁", "$text-disabled"),
        ]
        name = one_line(device.name, 24) if width >= NARROW else ""
        lines.append(_line(f"GPU {number}", name, parts, device.total, width))
    return Content("\n").join(lines)


def _line(label: str, name: str, parts: list[Part], total: int, width: int) -> Content:
    figures = [f"{what} {gigabytes(amount)}" for what, amount, _, _ in parts]
    legend = f"{' · '.join(figures)} of {gigabytes(total)} GB"
    cells = max(10, width - 6 - 2 - len(legend) - (len(name) + 2 if name else 0))
    drawn: list[tuple[str, str]] = []
    left = cells
    for number, (_, amount, character, style) in enumerate(parts):
        share = left if number == len(parts) - 1 else min(left, round(cells * amount / total) or (1 if amount else 0))
        left -= share
        drawn.append((character * share, style))
    return Content.assemble(
        (f"{label:<6}", "bold"), *drawn, "  ", (legend, "$foreground"), (f"  {name}" if name else "", "$text-muted")
    )


class MemoryGauge(Widget):
    """Follows the app's view of the machine."""

    DEFAULT_CSS = "MemoryGauge { height: auto; }"

    def on_mount(self) -> None:
        self.watch(self.app, "view", self._show, init=False)

    def _show(self, _: MachineView) -> None:
        self.refresh(layout=True)

    def render(self) -> Content:
        return gauge(cast("CharlieApp", self.app).view.memory, self.content_size.width)
