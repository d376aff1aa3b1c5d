"""Faults of the terminal: a key handler that raises, a window that is closed."""

from __future__ import annotations

import re
import termios
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.e2e.terminal import F5
from tests.faults import phases
from tests.faults.interface import ended_by, started_again
from tests.faults.outcome import Fault, Outcome
from tests.faults.stage import Stage, interface, left_on

RAISES = """
import sys
if sys.orig_argv[-1].endswith('charlie'):
    from app.tui.app import CharlieApp
    def broken(self, mode):
        secret = 'what the person wrote'
        raise RuntimeError('the handler broke \\x1b[31m[bold]')
    CharlieApp.action_mode = broken
"""
"""A `sitecustomize` that makes the keys for another mode raise in the interface."""
LEAVE = b"\x1b[?1049l"
"""Restores the screen from before the program; xterm."""
MODES = (b"?1049", b"?1000", b"?1003", b"?2004")
"""Switched on by the interface and off at its end: the other screen, the mouse, bracketed paste."""
MOST_LINES = 2


def handler_raises(home: Path) -> Outcome:
    broken = home / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(RAISES)
    with interface(home, PYTHONPATH=str(broken)) as on:
        phases.decoding(on)
        on.press(F5)
        on.output.end()
        left = left_on(home)
        text, missed = _left_on_the_terminal(on)
    found = started_again(on, left, saw=text)
    return replace(found, missed=(*missed, *found.missed))


def _left_on_the_terminal(on: Stage) -> tuple[str, list[str]]:
    """The text on the terminal after the end, and faults of it."""
    assert on.terminal is not None
    child, raw = on.terminal.child, on.terminal.raw
    on.terminal.await_exit()
    missed = [
        f"mode {mode.decode()} stays on"
        for mode in MODES
        if raw.rfind(b"\x1b[" + mode + b"h") > raw.rfind(b"\x1b[" + mode + b"l")
    ]
    if raw.rfind(b"\x1b[?25l") > raw.rfind(b"\x1b[?25h"):
        missed.append("the cursor stays hidden")
    flags = termios.tcgetattr(child.child_fd)[3]
    if not (flags & termios.ECHO and flags & termios.ICANON):
        missed.append("the terminal stays raw")
    if not child.exitstatus:
        missed.append(f"the exit status is {child.exitstatus}")
    after = raw.rpartition(LEAVE)[2].decode()
    lines = [line for line in re.sub(r"\x1b\[[?\d;>=]*[a-zA-Z]", "", after).splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_LINES or "Traceback" in after:
        missed.append(f"it says {len(lines)} lines")
    if "\x1b[31m" in after or "wrote" in after:
        missed.append("it shows private text or a control sequence")
    return " ".join(lines)[:300], missed


def _close(on: Stage) -> None:
    assert on.terminal is not None
    on.terminal.hanging_up = True
    on.output.end()


FAULTS = [
    Fault("a key whose handler raises, while generating", handler_raises),
    Fault("terminal closed while generating", partial(ended_by, begin=interface, reach=phases.decoding, end=_close)),
]
