"""`charlie` without a command: starts the processes and opens the interface."""

from __future__ import annotations

import gc
import signal
import sys

from app.commands.attach import exit_on_signals, make_client
from app.commands.output import note
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from app.tui.textual_fixes import accept_invalid_utf8, plain_tooltips


def run() -> int:
    """Run the interface until the user quits; returns the exit status."""
    client = make_client()
    exit_on_signals()
    with Runtime(client, note=note) as runtime:
        accept_invalid_utf8()
        plain_tooltips()
        interface = CharlieApp(client, runtime.tick, runtime.notice)
        gc.freeze()  # modules and classes are never collected
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
