"""A fault, its outcome, and the limits that it is measured against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPORTED_SECONDS = 1.0
"""The interface reports a fault within this time."""
RECOVERED_SECONDS = 3.0
"""The worker, or the database, works again within this time."""
STOPPED_SECONDS = 3.0
"""A cancelled job ends within this time."""


class Slow(str):
    """A time over its limit."""

    __slots__ = ()


def too_slow(what: str, seconds: float, limit: float) -> list[str]:
    """What is missed: nothing, or that `what` took over `limit` seconds."""
    return [Slow(f"{what} took {seconds:.2f} s, the limit is {limit:.2f} s")] if seconds > limit else []


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table."""

    saw: str
    """The text that the user saw."""
    usable: float
    """Seconds until Charlie was usable again."""
    jobs_lost: int = 0
    entries_lost: int = 0
    left: tuple[str, ...] = ()
    """Processes that should have ended."""
    missed: tuple[str, ...] = ()
    """Limits and promises that were not kept."""
    inputs: int = 0
    """Bad inputs tried."""

    @property
    def good(self) -> bool:
        return not (self.jobs_lost or self.entries_lost or self.left or self.missed)

    @property
    def only_slow(self) -> bool:
        """Whether nothing else is wrong: then a second try tells a slow program from a busy moment of the machine."""
        kept = not (self.jobs_lost or self.entries_lost or self.left)
        return kept and bool(self.missed) and all(isinstance(each, Slow) for each in self.missed)


@dataclass(frozen=True, slots=True)
class Fault:
    """`provoke` gets an empty home; `quick` faults are part of `make test`."""

    name: str
    provoke: Callable[[Path], Outcome]
    quick: bool = False


class TooLateError(Exception):
    """The moment for the fault had passed before it could be provoked; another try may succeed."""
