"""The real program on a pseudo-terminal, used like a person does, from start to quit."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from app.client import Client
from core.paths import find_paths
from core.settings_file import load_settings
from tasks.jobs.records import Text
from tests.app.commands.charlie import charlie
from tests.e2e.processes import PATIENT, assert_all_gone, until, workers_on
from tests.e2e.terminal import ENTER, ESCAPE, F1, F2, F3, F4, Terminal, ctrl, terminal
from tests.tiny_models import configure_reranker
from tests.waiting import first, output

SHORT = {"CHARLIE_INSTRUCT__SAMPLING__SEED": "1", "CHARLIE_INSTRUCT__SAMPLING__MAX_TOKENS": "60"}
SIZES = [(80, 24), (120, 36)]
WHEEL_DOWN = "\x1b[<65;20;10M"
"""One step of the mouse wheel, in the middle of the screen."""


def chat(shown: Terminal, text: str) -> None:
    shown.until("Write a message")
    shown.press(text)
    shown.until(text)
    shown.press(ENTER)


def statistics(shown: Terminal) -> list[str]:
    """The lines with numbers below the replies."""
    return [line for line in shown.lines if "tokens · " in line]


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_a_day_with_charlie(home: Path, columns: int, rows: int) -> None:
    configure_reranker(find_paths())
    with terminal(home, columns, rows, SHORT) as shown:
        shown.until(lambda: "Empty" in shown.status, 10)
        shown.until("Write a message")
        chat(shown, "hello there")
        shown.until(lambda: len(statistics(shown)) == 1)
        shown.until(lambda: "Warm  " in shown.status and "instruct · tiny" in shown.status)

        shown.press(F3)
        shown.until("Filter…")
        shown.press("A quiet walk by the river")
        shown.until("A quiet walk by the river")
        shown.until("saved")
        shown.press(ctrl("f"))
        shown.until("● indexed")
        shown.press("river walk", ENTER)
        shown.until("A quiet walk by the river")
        shown.until("reranked")
        shown.until(lambda: "Warm" in shown.status and "reranker" in shown.status)
        shown.press(ctrl("f"), ctrl("u"), "?where did I walk", ENTER)
        shown.until(lambda: "Warm" in shown.status and "instruct" in shown.status)
        shown.until("[1]")

        shown.press(F4)
        shown.until("[ WARM 3 models ]")
        shown.until("predicted: prefill")
        shown.press(*[WHEEL_DOWN] * 20)
        shown.until("Loading → Warm")
        shown.press("\x1b[B", "u")
        shown.until("[ WARM 2 models ]")
        shown.until(lambda: "Warm" in shown.status and "embedding" not in shown.status)
        shown.press("w")
        shown.until("[ WARM 3 models ]")
        shown.until(lambda: "Warm" in shown.status and "embedding" in shown.status)

        shown.press(F1)
        shown.until("Keys")
        shown.press(F1)
        shown.until(lambda: "Keys" not in shown.text)
        shown.press(F2)
        shown.until("hello there")
        shown.press(ctrl("q"))
        assert shown.until_end() == 0
        assert shown.raw.rstrip().endswith(b"l")  # the last sequence resets a mode
        assert b"\x1b[?1049l" in shown.raw  # leaves the alternate screen
        assert b"\x1b[?25h" in shown.raw  # shows the cursor
        assert_all_gone(home)
        assert not list((home / "run").iterdir())
    assert charlie(home, "journal", "list", "--json").json[0]["title"] == "A quiet walk by the river"


def test_a_reply_streams_to_the_screen_and_escape_stops_it(home: Path, talkative: dict[str, str]) -> None:
    with terminal(home, variables=talkative | PATIENT) as shown:
        shown.until("Empty   nothing loaded yet")
        (worker,) = workers_on(home)
        client = Client(load_settings(), find_paths())
        worker.suspend()  # resumed step by step, so that the reply cannot end first
        chat(shown, "hello there")
        until(lambda: bool(client.queue()))
        job = client.queue()[0].job.id
        worker.resume()
        first(output(client.jobs, job), lambda item: isinstance(item, Text))
        worker.suspend()
        shown.until(lambda: "Charlie" in shown.text and "tokens · " not in shown.text)
        shown.press(ESCAPE)
        until(lambda: client.jobs.asked_to_stop(job))
        worker.resume()
        client.close()
        shown.until("stopped")
        shown.press(ctrl("q"))
        assert shown.until_end() == 0
        assert_all_gone(home)


def test_a_killed_worker_is_replaced_and_answers(home: Path) -> None:
    with terminal(home) as shown:
        shown.until("Empty   nothing loaded yet")
        (worker,) = workers_on(home)
        worker.kill()
        chat(shown, "hello there")
        shown.until(lambda: len(statistics(shown)) == 1)
        shown.until(lambda: "Warm" in shown.status)
        shown.press(ctrl("q"))
        assert shown.until_end() == 0


def test_a_second_interface_attaches_and_takes_over(home: Path) -> None:
    with terminal(home) as first, ExitStack() as stack:
        first.until("Empty   nothing loaded yet")
        second = stack.enter_context(terminal(home, 120, 36))
        second.until(lambda: "Empty" in second.status)
        chat(first, "hello there")
        second.until(lambda: "Warm" in second.status)
        (worker,) = workers_on(home)
        first.press(ctrl("q"))
        assert first.until_end() == 0
        second.until(lambda: "Empty" in second.status)
        chat(second, "and hello to you")
        second.until(lambda: len(statistics(second)) == 1)
        assert workers_on(home) != [worker]
        second.press(ctrl("q"))
        assert second.until_end() == 0
        assert_all_gone(home)


def test_invalid_utf_8_is_shown_as_a_replacement_character(home: Path) -> None:
    with terminal(home) as shown:
        shown.until("Write a message")
        shown.child.send(b"caf\xe9 au lait")
        shown.until("caf\ufffd au lait")
        shown.press(ctrl("q"))
        assert shown.until_end() == 0
