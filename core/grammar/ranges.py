"""Numbers between two bounds as GBNF: every digit string that the grammar allows lies between them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

DIGITS = 15
"""Before the decimal point, where a bound leaves them open: a float holds as many exactly.

Behind a bound that has as many itself there is one more, up to the 308 of the largest float.
"""
PLACES = 2
"""Digits after the decimal point of a number with bounds, or as many as the bounds themselves have."""


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `low` to `high`, both included, in units of the last of `places` digits after the point."""

    low: int
    high: int
    places: int

    @property
    def least(self) -> int:
        """Characters of the shortest number; none if there is no number at all."""
        nearest = max(self.low, min(0, self.high))
        return len(self._written(nearest))

    @property
    def most(self) -> int:
        return max(len(self._written(self.low)), len(self._written(self.high)))

    def within(self, size: int) -> Range:
        """Those of at most `size` characters."""
        digits = size - (1 if self.places else 0)
        # With its sign a number has one digit less, and no number has fewer than one before the point.
        lowest = 1 - 10 ** (digits - 1) if digits - 1 > self.places else 0
        return Range(max(self.low, lowest), min(self.high, 10**digits - 1), self.places)

    def gbnf(self) -> str:
        parts = []
        if self.low < 0:
            parts += [f'"-" {each}' for each in self._alternatives(max(1, -self.high), -self.low)]
        if self.high >= 0:
            parts += self._alternatives(max(0, self.low), self.high)
        return "(" + " | ".join(parts) + ")"

    def _alternatives(self, low: int, high: int) -> list[str]:
        """One for each number of digits."""
        found = []
        while low <= high:
            last = min(high, 10 ** max(len(str(low)), self.places + 1) - 1)
            found.append(_digits(self._written(low), self._written(last)))
            low = last + 1
        return found

    def _written(self, units: int) -> str:
        sign, digits = "-" if units < 0 else "", str(abs(units)).zfill(self.places + 1)
        return f"{sign}{digits[: -self.places]}.{digits[-self.places :]}" if self.places else sign + digits


def range_of(low: Decimal | None, high: Decimal | None, *, whole: bool, exclusive: tuple[bool, bool]) -> Range:
    """The range of a schema's bounds; what has none goes as far as DIGITS digits."""
    given = [bound for bound in (low, high) if bound is not None]
    places = 0 if whole else max([PLACES, *(-int(each.normalize().as_tuple().exponent) for each in given)])
    places = min(places, DIGITS)
    digits = min(308, max([DIGITS, *(each.adjusted() + 2 for each in given)]))
    found = _between(low, high, places, digits, exclusive)
    # Between two that are near each other there is a number only with more places.
    while found.low > found.high and not whole and found.places < DIGITS:
        found = _between(low, high, found.places + 1, digits, exclusive)
    return found


def _between(
    low: Decimal | None, high: Decimal | None, places: int, digits: int, exclusive: tuple[bool, bool]
) -> Range:
    unit, open_end = 10**places, 10 ** (digits + places) - 1
    lowest = -open_end if low is None else max(-open_end, int((low * unit).to_integral_value(ROUND_CEILING)))
    highest = open_end if high is None else min(open_end, int((high * unit).to_integral_value(ROUND_FLOOR)))
    if exclusive[0] and lowest == low * unit:
        lowest += 1
    if exclusive[1] and highest == high * unit:
        highest -= 1
    return Range(lowest, highest, places)


def _digits(low: str, high: str) -> str:
    """The strings between two that are equally long and have their point, if any, at the same place."""
    if not low:
        return ""
    first, last = low[0], high[0]
    if first != "." and set(low) <= set("0.") and set(high) <= set("9."):
        return ' "." '.join(f"[0-9]{{{len(part)}}}" for part in low.split("."))
    if first == last:
        return f'"{first}" {_digits(low[1:], high[1:])}'.strip()
    zeros, nines = low[1:], high[1:]
    lowest, highest = _floor(zeros), _ceiling(nines)
    parts = []
    below, above = int(first), int(last)
    if zeros != lowest:
        parts.append(f'"{first}" {_digits(zeros, highest)}')
        below += 1
    if nines != highest:
        parts.append(f'"{last}" {_digits(lowest, nines)}')
        above -= 1
    if below <= above:
        parts.append(f"[{below}-{above}] {_digits(lowest, highest)}".strip())
    return "(" + " | ".join(parts) + ")"


def _floor(text: str) -> str:
    return "".join(each if each == "." else "0" for each in text)


def _ceiling(text: str) -> str:
    return "".join(each if each == "." else "9" for each in text)
