from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Static

from app.client import Client
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from app.tui.help.screen import HelpScreen
from app.tui.keys import shortcuts
from app.tui.log.screen import LogScreen
from core.paths import find_paths
from core.settings_file import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.conftest import Until

MODES = {"f2": "chat", "f3": "journal", "f4": "models", "f5": "log"}


def shown(app: CharlieApp) -> list[str]:
    return [str(cell.visual) for cell in app.screen.query("#help Static").results(Static)]


async def open_help(pilot: Pilot[None], until: Until, key: str) -> None:
    app = pilot.app
    await pilot.press(key)
    await until(pilot, lambda: app.current_mode == MODES[key])
    await pilot.press("f1")
    await until(pilot, lambda: isinstance(app.screen, HelpScreen) and app.screen.is_mounted)


@pytest.mark.slow
@pytest.mark.parametrize("key", MODES)
async def test_help_lists_every_binding_of_screen_and_app(app: CharlieApp, key: str, until: Until) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await open_help(pilot, until, key)
        kinds = (type(app.get_screen_stack(MODES[key])[0]), CharlieApp)
        bindings = [binding for kind in kinds for binding in Binding.make_bindings(kind.BINDINGS)]
        cells = shown(app)
        for binding in bindings:
            assert binding.description in cells
            assert binding.tooltip in cells
        assert {"● ◐ ◌ ○ ✕"} == {" ".join(cell for cell in cells if cell in "●◐◌○✕")}


@pytest.mark.parametrize("key", MODES)
async def test_every_binding_has_an_id_for_the_keymap_and_a_tooltip(app: CharlieApp, key: str, until: Until) -> None:
    async with app.run_test() as pilot:
        await pilot.press(key)
        await until(pilot, lambda: app.current_mode == MODES[key])
        ids = []
        for kind in (type(app.screen), CharlieApp):
            for binding in Binding.make_bindings(kind.BINDINGS):
                assert binding.tooltip, binding
                ids.append(binding.id or "")
        assert all("." in id_ for id_ in ids)


async def test_escape_and_f1_close_the_help(app: CharlieApp, until: Until) -> None:
    async with app.run_test() as pilot:
        for key in ("escape", "f1"):
            await open_help(pilot, until, "f2")
            await pilot.press(key)
            await until(pilot, lambda: not isinstance(app.screen, HelpScreen))


async def test_the_help_shows_changed_keys(home: Path, until: Until) -> None:
    client = Client(load_settings(interface={"keys": {"log.save": "f9"}}), find_paths())
    with Runtime(client, worker=False):
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await pilot.press("f5")
            await until(pilot, lambda: isinstance(app.screen, LogScreen))
            found = shortcuts(app.screen, client.settings.interface.keys)
            assert next(each.keys for each in found if each.action == "save") == ("F9",)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
def test_snapshot(size: tuple[int, int], app: CharlieApp, until: Until, snap_compare: Callable[..., bool]) -> None:
    async def show(pilot: Pilot[None]) -> None:
        await open_help(pilot, until, "f4")
        app.get_screen_stack("models")[0].query_one("#models-body").display = False

    assert snap_compare(app, terminal_size=size, run_before=show)
