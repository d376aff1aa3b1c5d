"""The `charlie` command. Without arguments it opens the interface, which does not wait for Typer."""

from __future__ import annotations

import gc
import os
import signal
import sys
from importlib import import_module
from typing import Any

from core.errors import CharlieError


def imported(path: str) -> Any:
    """The object at `module:name`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def open_interface() -> None:
    """Run the interface to its end, and exit. Raises CharlieError without a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CharlieError("The interface needs a terminal.", "`charlie ask` works in a pipe.")
    gc.disable()  # the interface chooses the moments to collect
    # At its default of 60 frames a second, Textual may show a key 1/60 s late.
    os.environ.setdefault("TEXTUAL_FPS", "120")
    sys.exit(imported("app.interface:run")())


def _open_closed_streams() -> None:
    """Open closed standard streams on the null device, also for child processes, before a file takes their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _flush_streams() -> None:
    """Write the rest, or discard what nobody reads: Python would print a traceback for it while it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main() -> None:
    """Run the command line. A failure prints one sentence on stderr and exits with status 1."""
    _open_closed_streams()
    os.umask(0o077)  # this process's and its children's files are private, in any folder
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # the real streams are TextIOWrapper
    try:
        if sys.argv[1:]:
            imported("app.command_line:app")(prog_name="charlie")
        else:
            open_interface()
    except KeyboardInterrupt:  # a second Ctrl+C during the handling of the first
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  # reported and logged
        imported("app.error_report:report")(error)
        sys.exit(1)
    finally:
        _flush_streams()
        # Python restores its own handler while it exits, so one more Ctrl+C would kill the process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
