"""What is said of a fault once it has been provoked, and the limits that it is measured against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TOLD_SECONDS = 1.0
"""The interface says what happened at most this long after it did."""
BACK_SECONDS = 3.0
"""The worker, or the database, serves again at most this long after it was lost."""
STOPPED_SECONDS = 3.0
"""A job that is cancelled has ended at most this long after."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table. `left` are the processes that outlived their time, `missed` the limits and promises,
    `inputs` how many bad inputs were tried.
    """

    saw: str
    usable: float
    jobs_lost: int = 0
    entries_lost: int = 0
    left: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    inputs: int = 0

    @property
    def good(self) -> bool:
        return not (self.jobs_lost or self.entries_lost or self.left or self.missed)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by name. `provoke` gets a settled home; a `quick` one is part of `make test`."""

    name: str
    provoke: Callable[[Path], Outcome]
    quick: bool = False


class TooLateError(Exception):
    """The moment that a fault was meant for had passed before it could be provoked; it is worth another try."""
