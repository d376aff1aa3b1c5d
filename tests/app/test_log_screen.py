from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from textual.pilot import Pilot
from textual.widgets import RichLog, Static

from app.client import Client
from app.tui import CharlieApp
from app.widgets.notice import Notice
from tasks.jobs import Ended, JobKind, JobState

if TYPE_CHECKING:
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


def place(app: CharlieApp) -> str:
    return str(app.screen.query_one("#log-place", Static).visual)


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


async def test_lines_are_data(app: CharlieApp, until: Until) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await open_log(pilot, until)
        assert "[red]not markup[/red] [31mnot red[0m" in "\n".join(shown(app))


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


async def test_the_end_is_followed_unless_scrolled_up(app: CharlieApp, client: Client, until: Until) -> None:
    path = client.paths.logs / "app.log"
    async with app.run_test(size=(120, 20)) as pilot:
        await open_log(pilot, until)
        view = app.screen.query_one("#lines", RichLog)
        with path.open("a") as file:
            file.writelines(f"2025-11-22 09:13:00 INFO app: line {n}\n" for n in range(100))
        await until(pilot, lambda: any("line 99" in line for line in shown(app)) and view.is_vertical_scroll_end)
        assert place(app) == "following the end"
        await pilot.press("pageup", "pageup")
        await until(pilot, lambda: not view.is_vertical_scroll_end and "paused" in place(app))
        await pilot.wait_for_scheduled_animations()
        at = view.scroll_offset.y
        with path.open("a") as file:
            file.write("2025-11-22 09:14:00 INFO app: one more\n")
        await until(pilot, lambda: place(app) == "paused · 1 new below")
        assert view.scroll_offset.y == at
        await pilot.press("end")
        await until(pilot, lambda: place(app) == "following the end" and view.is_vertical_scroll_end)


async def test_what_waits_for_a_decision_and_what_was_refused_is_told(
    app: CharlieApp, client: Client, until: Until
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, until)
        line = app.screen.query_one("#not-done", Static)
        assert not line.display
        entry = client.library.new_entry("deadly")
        job = client.jobs.create(JobKind.INGEST, {"entry": entry.id}, entry.id)
        client.jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.set_aside(job.id, Ended(JobState.INTERRUPTED))
        await until(pilot, lambda: str(line.visual).startswith("1 job set aside · "))
        client._queue.storage.set_aside(b"bad")
        client._queue.storage.set_aside(b"worse")
        await until(pilot, lambda: str(line.visual).startswith("1 job set aside, 2 messages refused · "))
        assert line.display
        client.drop(entry)
        await until(pilot, lambda: str(line.visual).startswith("2 messages refused · "))


async def test_what_is_shown_is_saved(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test(size=(120, 30)) as pilot:
        await open_log(pilot, until)
        await pilot.press("l", "s")
        await until(pilot, lambda: bool(list(client.paths.logs.glob("saved-*.txt"))))
        (saved,) = client.paths.logs.glob("saved-*.txt")
        await until(pilot, lambda: "the job failed" in saved.read_text())
        await until(pilot, lambda: str(app.screen.query_one(Notice).visual) == f"Saved as {saved}")
        assert app.screen.query_one(Notice).display
        assert not app._notifications
        assert place(app) == "following the end"
        assert "serving as process" not in saved.read_text()
        assert "\x1b" not in saved.read_text()


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
def test_snapshot(size: tuple[int, int], app: CharlieApp, until: Until, snap_compare: Callable[..., bool]) -> None:
    async def show(pilot: Pilot[None]) -> None:
        await open_log(pilot, until)
        await until(pilot, lambda: len(shown(app)) == 5)
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=show)
