from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from textual.pilot import Pilot
from textual.widgets import RichLog, Static

from app.client import Client
from app.tui.app import CharlieApp
from app.tui.shared.notice import Notice
from tests.e2e.processes import PATIENCE
from tests.parked import park

if TYPE_CHECKING:
    from tasks.jobs.records import Job
    from tests.app.conftest import Until

WORKER = [
    "2025-11-22 09:12:01,100 INFO tasks.worker: serving as process 4321",
    "2025-11-22 09:12:02,200 WARNING states.manager: [red]not markup[/red] \x1b[31mnot red\x1b[0m",
    "2025-11-22 09:12:03,300 ERROR tasks.runner: the job failed",
    "Traceback (most recent call last):",
    "2025-11-22 09:12:04,400 DEBUG tasks.runner: details",
]
APP = ["2025-11-22 09:12:02,700 INFO app.runtime: started"]


@pytest.fixture(autouse=True)
def logs(client: Client) -> None:
    (client.paths.logs / "worker.log").write_text("\n".join(WORKER) + "\n")
    (client.paths.logs / "app.log").write_text("\n".join(APP) + "\n")


def shown(app: CharlieApp) -> list[str]:
    return [strip.text.rstrip() for strip in app.screen.query_one("#lines", RichLog).lines]


def position(app: CharlieApp) -> str:
    return str(app.screen.query_one("#log-position", Static).visual)


async def open_log(pilot: Pilot[None], until: Until) -> None:
    app = pilot.app
    assert isinstance(app, CharlieApp)
    await pilot.press("f5")
    await until(pilot, lambda: app.current_mode == "log" and any("started" in line for line in shown(app)))
    await pilot.press("2")  # the database's own lines differ from run to run
    await until(pilot, lambda: not any("database" in line for line in shown(app)))


async def test_three_files_are_shown_as_one_stream(app: CharlieApp, until: Until) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await open_log(pilot, until)
        assert [line[10:18].strip() for line in shown(app)] == ["worker", "worker", "app", "worker", "worker"]


async def test_a_read_may_end_when_the_screen_has_lost_its_widgets(
    app: CharlieApp, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, may_end, parked = threading.Event(), threading.Event(), client.jobs.parked

    def slow() -> list[Job]:
        began.set()
        may_end.wait(PATIENCE)
        return parked()

    monkeypatch.setattr(client.jobs, "parked", slow)
    async with app.run_test() as pilot:
        await pilot.press("f5")
        await until(pilot, began.is_set)
        await app.screen.query("*").remove()
        may_end.set()
        await until(pilot, lambda: not any(worker.group == "read" for worker in app.workers))


@pytest.mark.slow
async def test_log_lines_are_shown_as_plain_text(app: CharlieApp, until: Until) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await open_log(pilot, until)
        assert "[red]not markup[/red] ␛[31mnot red␛[0m" in "\n".join(shown(app))


async def test_levels_and_sources_filter(app: CharlieApp, until: Until) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await open_log(pilot, until)
        await pilot.press("l")  # warnings and up
        await until(pilot, lambda: len(shown(app)) == 3)
        await pilot.press("l")  # errors, and the traceback that goes with one
        await until(pilot, lambda: len(shown(app)) == 2)
        await pilot.press("l")  # everything
        await until(pilot, lambda: len(shown(app)) == 6)
        await pilot.press("1")
        await until(pilot, lambda: len(shown(app)) == 1)


@pytest.mark.slow
async def test_the_end_is_followed_unless_scrolled_up(app: CharlieApp, client: Client, until: Until) -> None:
    path = client.paths.logs / "app.log"
    async with app.run_test(size=(120, 20)) as pilot:
        await open_log(pilot, until)
        view = app.screen.query_one("#lines", RichLog)
        with path.open("a") as file:
            file.writelines(f"2025-11-22 09:13:00 INFO app: line {n}\n" for n in range(100))
        await until(pilot, lambda: any("line 99" in line for line in shown(app)) and view.is_vertical_scroll_end)
        assert position(app) == "following the end"
        await pilot.press("pageup", "pageup")
        await until(pilot, lambda: not view.is_vertical_scroll_end and "paused" in position(app))
        await pilot.wait_for_scheduled_animations()
        at = view.scroll_offset.y
        with path.open("a") as file:
            file.write("2025-11-22 09:14:00 INFO app: one more\n")
        await until(pilot, lambda: position(app) == "paused · 1 new below")
        assert view.scroll_offset.y == at
        await pilot.press("end")
        await until(pilot, lambda: position(app) == "following the end" and view.is_vertical_scroll_end)


@pytest.mark.slow
async def test_parked_jobs_and_refused_messages_are_shown(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, until)
        line = app.screen.query_one("#problems", Static)
        assert not line.display
        entry = client.journal.new_entry("deadly")
        park(client, entry)
        await until(pilot, lambda: str(line.visual).startswith("1 job parked · "))
        client._queue.storage.reject(b"bad")
        client._queue.storage.reject(b"worse")
        await until(pilot, lambda: str(line.visual).startswith("1 job parked, 2 messages refused · "))
        assert line.display
        client.skip(entry)
        await until(pilot, lambda: str(line.visual).startswith("2 messages refused · "))


async def test_the_shown_lines_can_be_saved(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await open_log(pilot, until)
        await pilot.press("l", "s")
        await until(pilot, lambda: bool(list(client.paths.logs.glob("saved-*.txt"))))
        (saved,) = client.paths.logs.glob("saved-*.txt")
        await until(pilot, lambda: "the job failed" in saved.read_text())
        await until(pilot, lambda: str(app.screen.query_one(Notice).visual) == f"Saved as {saved}")
        assert app.screen.query_one(Notice).display
        assert not app._notifications
        assert position(app) == "following the end"
        assert "serving as process" not in saved.read_text()
        assert "\x1b" not in saved.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
def test_snapshot(size: tuple[int, int], app: CharlieApp, until: Until, snap_compare: Callable[..., bool]) -> None:
    async def show(pilot: Pilot[None]) -> None:
        await open_log(pilot, until)
        await until(pilot, lambda: len(shown(app)) == 5)
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=show)
