"""What a measurement found, and the table that it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = "| measure | case | Charlie | against | ratio | must reach | |\n|---|---|---:|---:|---:|---:|---|"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ratio` is Charlie's to what it is held against, or, of a figure with a limit, to the limit."""

    measure: str
    case: str
    charlie: str
    against: str
    ratio: float
    must: str
    met: bool

    def __str__(self) -> str:
        verdict = "yes" if self.met else "**no**"
        cells = (self.measure, self.case, self.charlie, self.against, f"{self.ratio:.2f}", self.must, verdict)
        return f"| {' | '.join(cells)} |"


def limited(measure: str, case: str, figure: float, limit: float, unit: str) -> Row:
    """A figure that must not be above its limit."""
    return Row(measure, case, _with(figure, unit), "", figure / limit, f"≤ {limit:g} {unit}", figure <= limit)


def compared(
    measure: str, case: str, charlie: float, other: float, unit: str, against: str, must: str, *, met: bool
) -> Row:
    """Charlie's figure beside another's."""
    return Row(measure, case, _with(charlie, unit), f"{against} {_with(other, unit)}", charlie / other, must, met)


def _with(figure: float, unit: str) -> str:
    digits = 0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 2
    return f"{figure:,.{digits}f} {unit}"


def table(rows: Sequence[Row]) -> str:
    return "\n".join([HEAD, *map(str, rows)])
