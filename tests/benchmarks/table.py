"""Rows of measured figures, and their table."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ParamSpec

import pytest

P = ParamSpec("P")


LONGEST_REASON = 300
HEAD = "| measure | case | Charlie | against | ratio | must reach | |\n|---|---|---:|---:|---:|---:|---|"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ratio` is the figure divided by the one it is compared with, or by its limit.

    `share` is the share of the limit that the figure uses: at most 1 if the measure is met.
    """

    measure: str
    case: str
    charlie: str
    against: str
    ratio: float
    must: str
    share: float
    failed: str = ""
    """The reason, if there is no figure."""

    @property
    def met(self) -> bool:
        return self.share <= 1

    def __str__(self) -> str:
        if self.failed:
            return f"| {self.measure} | {self.case} | | | | | **failed: {self.failed}** |"
        verdict = "yes" if self.met else f"**no, {self.share:.2f} ×**"
        digits = 3 if self.ratio < 0.1 else 2
        cells = (self.measure, self.case, self.charlie, self.against, f"{self.ratio:.{digits}f}", self.must, verdict)
        return f"| {' | '.join(cells)} |"


def attempted(
    measure: str, case: str, rows: Callable[P, Iterable[Row]], *args: P.args, **kwargs: P.kwargs
) -> list[Row]:
    """The rows of a measurement. If it fails, the last row has the reason, and the rows before it are kept."""
    found: list[Row] = []
    try:
        for row in rows(*args, **kwargs):
            found.append(row)  # noqa: PERF402  # rows before a failure are kept
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # one failure must not end the run
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}".replace("\n", " ").replace("|", "\\|")
        found.append(Row(measure, case, "", "", math.nan, "", math.inf, reason[:LONGEST_REASON]))
    return found


def limited(measure: str, case: str, figure: float, limit: float, unit: str) -> Row:
    """A figure that must not exceed its limit."""
    return Row(measure, case, shown(figure, unit), "", figure / limit, f"≤ {limit:g} {unit}", figure / limit)


def at_most(measure: str, case: str, figures: tuple[float, float], unit: str, against: str, ratio: float) -> Row:
    """Charlie's figure and another one; Charlie's may be at most `ratio` times the other."""
    charlie, other = figures
    found, compared = charlie / other, f"{against} {shown(other, unit)}"
    return Row(measure, case, shown(charlie, unit), compared, found, f"≤ {ratio:.4g}", found / ratio)


def at_least(measure: str, case: str, figures: tuple[float, float], unit: str, against: str, ratio: float) -> Row:
    """Charlie's figure and another one; Charlie's must be at least `ratio` times the other."""
    charlie, other = figures
    found, compared = charlie / other, f"{against} {shown(other, unit)}"
    return Row(measure, case, shown(charlie, unit), compared, found, f"≥ {ratio:.4g}", ratio / found)


def shown(figure: float, unit: str) -> str:
    digits = 0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 2
    return f"{figure:,.{digits}f} {unit}"


def table(rows: Iterable[Row]) -> str:
    return "\n".join([HEAD, *map(str, rows)])
