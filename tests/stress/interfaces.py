"""An interface in a pseudo-terminal, used by chance: new entries, changes, deletions, and their undo."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.e2e.terminal import ENTER, ESCAPE, F3, Terminal, ctrl
from tests.stress.record import Record

COLUMNS, ROWS = 110, 30
STEP_SECONDS = 20.0
SHOWN_SECONDS = 5.0
"""By then a text that is not saved is said to be so, and one that is saved was saved."""
DOWN, HOME = "\x1b[B", "\x1b[H"
UNSAVED = "not saved yet"


class Interface:
    """`charlie` on a terminal; it is started again after it was killed."""

    def __init__(self, home: Path, record: Record, seed: int) -> None:
        self._home = home
        self._record = record
        self._chance = random.Random(seed)
        self.terminal = self._start()

    def _start(self) -> Terminal:
        self._first = True
        self.terminal = Terminal(self._home, COLUMNS, ROWS, {})
        self.terminal.until("Write a message", 60)
        self.terminal.press(F3)
        self.terminal.until("Filter…", STEP_SECONDS)
        self.terminal.until("How was today?", STEP_SECONDS)
        return self.terminal

    def step(self) -> None:
        if not self.terminal.child.isalive():
            self.terminal.child.close()
            self._start()
            self._record.count("start of a killed interface")
        chosen = self._chance.choices([self._new, self._change, self._open, self._delete], [4, 4, 3, 1])[0]
        if self._first:
            chosen, self._first = self._new, False
        try:
            chosen()
        except AssertionError:
            if self.terminal.child.isalive():
                self._record.count("step of an interface, given up")
                self.terminal.press(ESCAPE, ctrl("n"))
                self.terminal.until(lambda: "New entry" in self.terminal.text and not self._in_list(), STEP_SECONDS)

    def _new(self) -> None:
        self.terminal.press(ctrl("n"))
        self.terminal.until("New entry", STEP_SECONDS)
        self._type("new entry by interface")

    def _change(self) -> None:
        if self._in_list():
            self._leave_list()
        self._type("change by interface")

    def _open(self) -> None:
        self._go_to_list()
        self.terminal.press(HOME, *[DOWN] * self._chance.randint(0, 6))
        self._leave_list()
        self._type("change of another's by interface")

    def _in_list(self) -> bool:
        return "d Delete" in self.terminal.lines[-1]

    def _go_to_list(self) -> None:
        if not self._in_list():
            self.terminal.press(ctrl("b"))
            self.terminal.until(self._in_list, STEP_SECONDS)

    def _leave_list(self) -> None:
        self.terminal.press(ENTER)
        self.terminal.until(lambda: not self._in_list(), STEP_SECONDS)

    def _type(self, kind: str) -> None:
        """Types a word at the end of the open entry, and waits until the head says that it is saved."""
        word = self._record.word()
        self.terminal.press("\x1b[1;5F", f" {word}")
        self.terminal.until(word, STEP_SECONDS)
        seen, unsaved = time.monotonic(), False
        while not unsaved or UNSAVED in self.terminal.text:
            unsaved = unsaved or UNSAVED in self.terminal.text
            waited = time.monotonic() - seen
            assert waited < STEP_SECONDS, f"{word} was not saved\n{self.terminal.text}"
            if not unsaved and waited > SHOWN_SECONDS:
                break  # it was saved before it was painted
            if not self.terminal._read():
                return
        self._record.say_saved(kind, word)
        self._record.count(kind)

    def _delete(self) -> None:
        self._go_to_list()
        self.terminal.press(HOME, *[DOWN] * self._chance.randint(0, 3), "d")
        self.terminal.until("It stays in", STEP_SECONDS)
        self.terminal.press("y")
        self.terminal.until("is in the trash", STEP_SECONDS)
        self._record.count("delete by interface")
        if self._chance.random() < 0.5:
            self.terminal.press("u")
            answers = ("is back.", "The trash holds no", "There is no journal entry")
            self.terminal.until(lambda: any(answer in self.terminal.text for answer in answers), STEP_SECONDS)
            self._record.count("undo by interface")

    def settle(self) -> None:
        """Wait until all that was typed is saved."""
        self.terminal.until(lambda: UNSAVED not in self.terminal.text, STEP_SECONDS)

    def quit(self) -> int:
        """End it in the regular way; returns its exit status."""
        self.terminal.press(ESCAPE, ctrl("q"))
        return self.terminal.until_end()

    def close(self) -> None:
        """End it at once, if it still runs."""
        if not self.terminal.child.ptyproc.fileobj.closed:
            self.terminal.child.close(force=True)
