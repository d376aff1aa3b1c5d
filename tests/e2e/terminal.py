"""The real program in a pseudo-terminal, with a terminal emulator that reads its screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pyte

from tests.app.commands.charlie import CHARLIE, environment
from tests.e2e.processes import PATIENCE, until

ENTER, ESCAPE, TAB = "\r", "\x1b", "\t"
F1, F2, F3, F4, F5 = "\x1bOP", "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b[15~"


def ctrl(letter: str) -> str:
    return chr(ord(letter.upper()) - 64)


class Terminal:
    """`charlie` on a terminal of the given size (columns and rows)."""

    def __init__(self, home: Path, columns: int, rows: int, variables: Mapping[str, str]) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        variables = {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | dict(variables)
        self.child: Any = pexpect.spawn(
            CHARLIE, dimensions=(rows, columns), env=environment(home, **variables), timeout=PATIENCE
        )
        self.raw = b""
        """All that was written to the terminal."""
        self.hanging_up = False
        """When set, the next read closes the terminal instead."""

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def status(self) -> str:
        """The status bar."""
        return next((line for line in reversed(self.lines) if line.strip()[:1] in ("●", "◐", "◌", "○", "✕")), "")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.child.send(key)

    def until(self, seen: str | Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Reads the program's output until `seen` is on the screen, or is true."""
        deadline = time.monotonic() + seconds
        while not (seen in self.text if isinstance(seen, str) else seen()):
            assert time.monotonic() < deadline, f"{seen} did not come\n{self.text}"
            self._read()

    def until_end(self) -> int:
        """Reads until the program ends; returns its exit status, or minus the signal that ended it."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, f"it did not end\n{self.text}"
        self.await_exit()
        status: int | None = self.child.exitstatus
        return status if status is not None else -int(self.child.signalstatus)

    def await_exit(self) -> None:
        """Wait until the program, whose output has been read or which was killed, has ended."""
        until(lambda: not self.child.isalive())

    def _read(self) -> bool:
        """False at the end."""
        if self.hanging_up:
            self.child.ptyproc.fileobj.close()
            return False
        try:
            data = self.child.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True


@contextmanager
def terminal(
    home: Path, columns: int = 80, rows: int = 24, variables: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    shown = Terminal(home, columns, rows, variables or {})
    try:
        yield shown
    finally:
        if not shown.child.ptyproc.fileobj.closed:
            if shown.child.isalive():
                shown.child.kill(9)
                shown.await_exit()
            shown.child.close()
