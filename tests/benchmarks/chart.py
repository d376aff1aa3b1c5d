"""The chart of a table: how much of what is allowed each figure takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.benchmarks.table import Row

MET, MISSED = "#2a9d6f", "#d1495b"
LONGEST = 78
"""Characters of a label."""


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write an SVG with one bar a row, on a logarithmic scale: left of the line is within what is allowed."""
    labels = [_label(row) for row in rows]
    shares = [max(row.share, 0.01) for row in rows]
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "charlie", "font.family": "sans-serif", "font.size": 9}
    ):
        figure = Figure(figsize=(11, 0.27 * len(rows) + 1.1), layout="constrained")
        axes = figure.subplots()
        places = range(len(rows))  # not the labels, of which some are equal
        bars = axes.barh(places, shares, color=[MET if row.met else MISSED for row in rows], height=0.7)
        axes.bar_label(bars, [f"{row.share:.2f}" for row in rows], padding=3, fontsize=8)
        axes.axvline(1, color="#444444", linewidth=1)
        axes.set_xscale("log")
        axes.set_xlim(0.01, max(3, *shares) * 1.6)
        axes.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
        axes.set_yticks(places, labels)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        figure.suptitle(
            "How much of what is allowed each measure takes: up to 1 it is met, shorter is better", fontsize=10
        )
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _label(row: Row) -> str:
    label = f"{row.measure} · {row.case}"
    return label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
