"""Signals that end a command in order."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def exit_on_signals() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit, so a runtime stops its children."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)


def _exit(number: int, _: FrameType | None) -> None:
    for each in (signal.SIGTERM, signal.SIGHUP):  # a second signal must not interrupt the cleanup
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)
