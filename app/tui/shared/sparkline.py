"""RAM in use over the last minutes, as one line of characters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, floor

from app.tui.machine_view import SPAN_SECONDS

LEVELS = "▁▂▃▄▅▆▇█"
REDRAW_SECONDS = 2.0
"""Readings arrive only when they change, so widgets that show them also redraw by a timer."""


def sparkline(
    readings: Sequence[tuple[float, int]], total: int, now: float, cells: int, span: float = SPAN_SECONDS
) -> str:
    """One character for each of `cells` equal slices of the last `span` seconds, the newest to the right.

    `readings` are (seconds since the epoch, bytes in use), oldest first, each valid until the next. The highest
    character stands for `total`. A slice shows its maximum, so that no peak is missed, and is blank before the first
    reading.
    """
    if not readings or total <= 0 or cells <= 0:
        return ""
    begin, width = now - span, span / cells
    most = [-1] * cells
    for (at, used), (until, _) in pairwise([*readings, (max(now, readings[-1][0]), 0)]):
        if until <= begin:
            continue
        first = min(max(floor((at - begin) / width), 0), cells - 1)
        last = min(max(ceil((until - begin) / width) - 1, first), cells - 1)
        for cell in range(first, last + 1):
            most[cell] = max(most[cell], used)
    return "".join(" " if used < 0 else _level(used / total) for used in most)


def _level(share: float) -> str:
    return LEVELS[min(max(round(share * (len(LEVELS) - 1)), 0), len(LEVELS) - 1)]
