"""The chart of a table: each figure as a share of its limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.benchmarks.table import Row

MET, MISSED = "#2a9d6f", "#d1495b"
LONGEST = 78
"""Characters in a label."""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Writes an SVG with one bar for each figure, on a logarithmic scale; bars left of the line keep the limit."""
    rows = [row for row in rows if not row.failed]
    labels = [_label(row) for row in rows]
    shares = [max(row.share, 0.01) for row in rows]
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "charlie", "font.family": "sans-serif", "font.size": 9}
    ):
        figure = Figure(figsize=(11, 0.27 * len(rows) + 1.1), layout="constrained")
        axes = figure.subplots()
        positions = range(len(rows))  # not the labels: some are equal
        bars = axes.barh(positions, shares, color=[MET if row.met else MISSED for row in rows], height=0.7)
        axes.bar_label(bars, [f"{row.share:.2f}" for row in rows], padding=3, fontsize=8)
        axes.axvline(1, color="#444444", linewidth=1)
        axes.set_xscale("log")
        axes.set_xlim(0.01, max(3, *shares) * 1.6)
        axes.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
        axes.set_yticks(positions, labels)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        figure.suptitle("Each measure as a share of its limit: up to 1 it is met, shorter is better", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _label(row: Row) -> str:
    label = f"{row.measure} · {row.case}"
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
