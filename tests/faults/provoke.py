"""All faults, and provoking one on a new home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.roles import Role
from tests.conftest import settle
from tests.e2e.processes import kill_all
from tests.faults import (
    cancel,
    database,
    files,
    hopeless,
    inputs,
    interface,
    native,
    screen,
    several,
    sizes,
    stale,
    strangers,
    texts,
    worker,
)
from tests.faults.outcome import Fault, Outcome, TooLateError
from tests.faults.stage import SLOW

FAULTS: list[Fault] = [
    *worker.FAULTS,
    *native.FAULTS,
    *hopeless.FAULTS,
    *database.FAULTS,
    *interface.FAULTS,
    *several.FAULTS,
    *screen.FAULTS,
    *cancel.FAULTS,
    *files.FAULTS,
    *sizes.FAULTS,
    *strangers.FAULTS,
    *stale.FAULTS,
    *inputs.FAULTS,
    *texts.FAULTS,
]
ATTEMPTS = 5


def provoke(fault: Fault, folder: Path, tiny: dict[Role, Path], slow: Path) -> Outcome:
    """Provokes a fault on a new home under `folder`, and on another one when its moment had passed."""
    for attempt in range(1, ATTEMPTS + 1):
        home = folder / str(attempt)
        home.mkdir(parents=True)
        os.link(slow, home / SLOW)
        with pytest.MonkeyPatch.context() as patch:
            settle(home, patch)
            try:
                return fault.provoke(home)
            except TooLateError:
                if attempt == ATTEMPTS:
                    raise
            finally:
                kill_all(home)
    raise AssertionError("the last attempt returns or raises")
