"""Faults of the terminal and of what is behind a key: a handler that raises, a window that is closed."""

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
    from app.tui import CharlieApp
    def spoiled(self, mode):
        secret = 'what the person wrote'
        raise RuntimeError('the handler broke \\x1b[31m[bold]')
    CharlieApp.action_mode = spoiled
"""
"""As a `sitecustomize`, this has the keys that change the mode raise in the interface."""
LEAVE = b"\x1b[?1049l"
"""Gives the screen back as it was before the program; xterm."""
MODES = (b"?1049", b"?1000", b"?1003", b"?2004")
"""What is switched on has to be switched off: the other screen, the mouse, pasting."""
LINES = 2


def handler_raises(home: Path) -> Outcome:
    spoiled = home / "spoiled"
    spoiled.mkdir()
    (spoiled / "sitecustomize.py").write_text(RAISES)
    with interface(home, PYTHONPATH=str(spoiled)) as on:
        phases.decoding(on)
        on.press(F5)
        on.said.end()
        left = left_on(home)
        said, missed = _left_on_the_terminal(on)
    found = started_again(on, left, saw=said)
    return replace(found, missed=(*missed, *found.missed))


def _left_on_the_terminal(on: Stage) -> tuple[str, list[str]]:
    """What stands on it after the end, and what is wrong with it."""
    assert on.shown is not None
    child, raw = on.shown.child, on.shown.raw
    child.wait()
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
    if not 1 <= len(lines) <= LINES or "Traceback" in after:
        missed.append(f"it says {len(lines)} lines")
    if "\x1b[31m" in after or "wrote" in after:
        missed.append("it says what it should not")
    return " ".join(lines)[:300], missed


def _close(on: Stage) -> None:
    assert on.shown is not None
    on.shown.hanging_up = True
    on.said.end()


FAULTS = [
    Fault("a key whose handler raises, while generating", handler_raises),
    Fault("terminal closed while generating", partial(ended_by, begin=interface, reach=phases.decoding, end=_close)),
]
