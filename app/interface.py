"""`charlie` without a command: opens the interface, and then starts the processes."""

from __future__ import annotations

import ctypes
import gc
import platform
import signal
import sys
import tomllib
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module

from app.process import exit_on_signals, make_client, note
from app.tui.app import CharlieApp
from app.tui.opening import Opened
from app.tui.textual_fixes import accept_invalid_utf8, plain_tooltips
from core.errors import CharlieError
from core.paths import find_paths

M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def run() -> int:
    """Run the interface until the user quits; returns the exit status."""
    exit_on_signals()
    if platform.libc_ver()[0] == "glibc":  # else each thread has an arena, and keeps what was freed in it
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    accept_invalid_utf8()
    plain_tooltips()
    with ExitStack() as stack:
        interface = CharlieApp(partial(_open, stack))
        if (theme := _configured_theme()) in interface.available_themes:
            interface.theme = theme
        interface.run()
        signal.alarm(0)  # set when the terminal closes, in case the interface hangs
        for number in (signal.SIGTERM, signal.SIGHUP):  # the process is ending already
            signal.signal(number, signal.SIG_IGN)
        for sentence in interface.last_words:
            note(sentence)
        if interface.failure is not None:
            raise interface.failure
        if interface.return_code:  # of a signal; an exit that is not orderly waits for no upkeep
            sys.exit(interface.return_code)
    return 0


def _configured_theme() -> str:
    """The theme in the settings file, read without the settings: those come after the first screen, which has it."""
    with suppress(CharlieError, OSError, ValueError, KeyError, TypeError):
        return str(tomllib.loads(find_paths().config_file.read_text())["interface"]["theme"])
    return ""


def _open(stack: ExitStack) -> Opened:
    """A client and its runtime, which `stack` ends. Imports here what the first screen does not need."""
    from app.runtime.owner import Runtime

    client = make_client()
    runtime = Runtime(client, note=note)
    stack.push(runtime)
    import_module("app.tui.shared.streamed_markdown")  # for the first reply
    gc.freeze()  # modules and classes are never collected
    return Opened(client, runtime.tick, runtime.starting())
