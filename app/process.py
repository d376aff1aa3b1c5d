"""The process of a command or of the interface: its signals, its client, and what it notes on stderr."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from core.text import printable

if TYPE_CHECKING:
    from app.client import Client


def note(text: str) -> None:
    """Write one line for the user to stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def make_client() -> Client:
    """A client with this environment's settings. Makes the folders, and logs warnings to a file."""
    from app.client import Client
    from app.error_report import log_to
    from core.paths import find_paths
    from core.settings_file import load_settings

    settings, paths = load_settings(), find_paths()
    paths.make()
    log_to(paths.logs / "app.log")
    return Client(settings, paths)


def exit_on_signals() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit, so a runtime stops its children."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)


def _exit(number: int, _: FrameType | None) -> None:
    for each in (signal.SIGTERM, signal.SIGHUP):  # a second signal must not interrupt the cleanup
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)
