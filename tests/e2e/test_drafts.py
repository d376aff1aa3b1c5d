"""Unsent text survives every end of the real program."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.processes import assert_all_gone, until
from tests.e2e.terminal import ENTER, F3, Terminal, ctrl, terminal


def drafts(home: Path) -> list[str]:
    return [json.loads(file.read_text())["text"] for file in (home / "data" / "drafts").glob("*.json")]


def hang_up(shown: Terminal) -> None:
    """Closes the terminal; the kernel sends SIGHUP."""
    shown.child.ptyproc.fileobj.close()
    until(lambda: os.waitpid(shown.child.pid, os.WNOHANG)[0] != 0)


def leave(shown: Terminal) -> None:
    shown.press(ctrl("q"))
    assert shown.until_end() == 0


ENDS: dict[str, Callable[[Terminal], object]] = {
    "quit": leave,
    "SIGTERM": lambda shown: (shown.child.kill(signal.SIGTERM), shown.until_end()),
    "closed": hang_up,
}


@pytest.mark.parametrize("end", ENDS)
def test_the_prompt_survives_an_end_right_after_the_last_key(home: Path, end: str) -> None:
    with terminal(home) as shown:
        shown.until("Write a message")
        shown.press("Not sent yet")
        shown.until("Not sent yet")
        ENDS[end](shown)
    assert drafts(home) == ["Not sent yet"]
    with terminal(home) as shown:
        shown.until("Not sent yet")
        shown.press(ENTER)
        until(lambda: drafts(home) == [], meanwhile=shown._read)


def test_the_prompt_and_a_title_survive_kill_9(home: Path) -> None:
    with terminal(home) as shown:
        shown.until("Write a message")
        shown.press("hello", ENTER)
        shown.until("tok/s")
        shown.press("Not sent yet")
        until(lambda: drafts(home) == ["Not sent yet"], meanwhile=shown._read)
        shown.press(ctrl("t"))
        shown.until("Title of this conversation")
        shown.press("A greeting")
        until(lambda: sorted(drafts(home)) == ["A greeting", "Not sent yet"], meanwhile=shown._read)
        shown.child.kill(signal.SIGKILL)
        shown.await_exit()
        assert_all_gone(home)
    with terminal(home) as shown:
        shown.until("Not sent yet")
        shown.until("tok/s")
        shown.press(ctrl("t"))
        shown.until("A greeting")


def test_an_entry_that_was_not_saved_yet_survives_kill_9(home: Path) -> None:
    with terminal(home) as shown:
        shown.until("Write a message")
        shown.press(F3)
        shown.until("How was today?")
        shown.press("Bread rose")
        until(lambda: drafts(home) == ["Bread rose"], meanwhile=shown._read)
        shown.child.kill(signal.SIGKILL)
        shown.await_exit()
        assert_all_gone(home)
    with terminal(home) as shown:
        shown.until("Write a message")
        shown.press(F3)
        shown.until("Bread rose")
        until(lambda: drafts(home) == [], meanwhile=shown._read)
        shown.until("· saved")
