"""Rows of measured figures, the rounds of a row, and the table."""

from __future__ import annotations

import math
import statistics
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ParamSpec

import pytest

P = ParamSpec("P")


LONGEST_REASON = 300
HEAD = "| measure | case | Charlie | against | ratio | spread | must reach | |\n|---|---|---:|---:|---:|---:|---:|---|"
ROUNDS = 5
"""A row is measured so many times at most."""
STEADY = 0.05
"""Spread below which a row is not measured again."""
FAR = 0.5
"""Share of its limit up to which one round is enough: the figure would have to double to miss it."""


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
    spread: float = math.nan
    """Of the shares of its rounds; NaN after one round."""
    rounds: int = 1

    @property
    def met(self) -> bool:
        return self.share <= 1

    @property
    def settled(self) -> bool:
        """Whether another round would hardly change the figure, or not its verdict."""
        return bool(self.failed) or self.spread < STEADY or self.share <= FAR

    @property
    def noisy(self) -> bool:
        return not self.settled and self.rounds >= ROUNDS

    def __str__(self) -> str:
        if self.failed:
            return f"| {self.measure} | {self.case} | | | | | | **failed: {self.failed}** |"
        verdict = "yes" if self.met else f"**no, {self.share:.2f} ×**"
        digits = 3 if self.ratio < 0.1 else 2
        ratio, spread = f"{self.ratio:.{digits}f}", "one round"
        if self.rounds > 1:
            spread = f"{self.spread:.1%}, {self.rounds} rounds" + ", **machine too noisy**" * self.noisy
        cells = (self.measure, self.case, self.charlie, self.against, ratio, spread, self.must, verdict)
        return f"| {' | '.join(cells)} |"


def spread_of(shares: Sequence[float]) -> float:
    """Their range divided by their median; from four on without the lowest and the highest."""
    cut = len(shares) // 4
    middle = sorted(shares)[cut : len(shares) - cut]
    return (middle[-1] - middle[0]) / abs(statistics.median(shares) or 1.0)


def median_rows(rounds: Iterable[Iterable[Row]]) -> list[Row]:
    """Of each row the round in the middle, and the spread of its rounds; a failure stays one.

    Rows are told apart by their measure and the first part of their case: what follows may be figures of a round. Of an
    even number of rounds the worse one of the middle counts.
    """
    found: dict[tuple[str, str, int], list[Row]] = {}
    for rows in rounds:
        seen = Counter[tuple[str, str]]()
        for row in rows:
            key = row.measure, row.case.partition(",")[0]
            found.setdefault((*key, seen[key]), []).append(row)
            seen[key] += 1
    return [_median_row(each) for each in found.values()]


def _median_row(rounds: list[Row]) -> Row:
    if failed := [row for row in rounds if row.failed]:
        return failed[0]
    row = sorted(rounds, key=lambda row: row.share)[len(rounds) // 2]
    spread = spread_of([each.share for each in rounds]) if len(rounds) > 1 else math.nan
    return replace(row, spread=spread, rounds=len(rounds))


def doubt(rows: Iterable[Row]) -> float:
    """How near the verdict of an unsettled row is to the other one: 0 at its limit, infinite where all are settled."""
    return min((abs(math.log(row.share)) for row in rows if not row.settled), default=math.inf)


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
