"""What a measurement found, and the table that it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = "| measure | case | Charlie | against | ratio | must reach | |\n|---|---|---:|---:|---:|---:|---|"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ratio` is Charlie's to what it is held against, or, of a figure with a limit, to the limit.

    `share` is how much of what is allowed it takes: at most 1 where the measure is met.
    """

    measure: str
    case: str
    charlie: str
    against: str
    ratio: float
    must: str
    share: float

    @property
    def met(self) -> bool:
        return self.share <= 1

    def __str__(self) -> str:
        verdict = "yes" if self.met else f"**no, {self.share:.2f} ×**"
        digits = 3 if self.ratio < 0.1 else 2
        cells = (self.measure, self.case, self.charlie, self.against, f"{self.ratio:.{digits}f}", self.must, verdict)
        return f"| {' | '.join(cells)} |"


def limited(measure: str, case: str, figure: float, limit: float, unit: str) -> Row:
    """A figure that must not be above its limit."""
    return Row(measure, case, shown(figure, unit), "", figure / limit, f"≤ {limit:g} {unit}", figure / limit)


def at_most(measure: str, case: str, figures: tuple[float, float], unit: str, against: str, ratio: float) -> Row:
    """Charlie's figure and another's, of which Charlie's must be at most so many times the other."""
    charlie, other = figures
    found, beside = charlie / other, f"{against} {shown(other, unit)}"
    return Row(measure, case, shown(charlie, unit), beside, found, f"≤ {ratio:.4g}", found / ratio)


def at_least(measure: str, case: str, figures: tuple[float, float], unit: str, against: str, ratio: float) -> Row:
    """The same, where it must be at least so many times the other."""
    charlie, other = figures
    found, beside = charlie / other, f"{against} {shown(other, unit)}"
    return Row(measure, case, shown(charlie, unit), beside, found, f"≥ {ratio:.4g}", ratio / found)


def shown(figure: float, unit: str) -> str:
    digits = 0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 2
    return f"{figure:,.{digits}f} {unit}"


def table(rows: Sequence[Row]) -> str:
    return "\n".join([HEAD, *map(str, rows)])
