from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from textual.widgets import Input

from app.client import Client
from app.runtime import Runtime
from app.tui import CharlieApp
from core.errors import DatabaseError
from core.events import QueueChanged
from core.paths import find_paths
from core.settings import load_settings
from tasks.jobs import JobKind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.conftest import Until

PROBE = """
import sys
from app.client import Client
from app.runtime import Runtime
from app.tui import CharlieApp
from app.widgets.model_table import ModelTable
from core.paths import find_paths
from core.settings import Role, load_settings
import asyncio

async def visit(app):
    async with app.run_test() as pilot:
        await pilot.press("f3", "f5", "f1", "escape", "f4")
        while not app.screen.query(ModelTable) or app.screen.query_one(ModelTable).facts(Role.INSTRUCT) is None:
            await pilot.pause(0.01)

client = Client(load_settings(), find_paths())
with Runtime(client, worker=False):
    asyncio.run(visit(CharlieApp(client)))
print(sorted({"llama_cpp", "dspy", "litellm"} & set(sys.modules)))
"""


def test_the_process_of_the_interface_loads_no_inference(home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


async def test_every_mode_has_its_key(app: CharlieApp, until: Until) -> None:
    async with app.run_test() as pilot:
        assert app.current_mode == "chat"
        for key, mode in (("f3", "journal"), ("f4", "models"), ("f5", "log"), ("f2", "chat")):
            await pilot.press(key)
            await until(pilot, lambda mode=mode: app.current_mode == mode)  # type: ignore[misc]


async def test_keys_are_taken_from_the_settings(home: Path, until: Until) -> None:
    client = Client(load_settings(interface={"keys": {"app.models": "f8"}}), find_paths())
    with Runtime(client, worker=False):
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await pilot.press("f4")
            assert app.current_mode == "chat"
            await pilot.press("f8")
            await until(pilot, lambda: app.current_mode == "models")


@pytest.mark.parametrize(("theme", "taken"), [("textual-light", "textual-light"), ("mauve-ish", "textual-dark")])
async def test_the_theme_is_taken_from_the_settings(home: Path, theme: str, taken: str) -> None:
    client = Client(load_settings(interface={"theme": theme}), find_paths())
    with Runtime(client, worker=False):
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await pilot.pause()
            assert app.theme == taken
            assert len(app._notifications) == (theme != taken)


async def test_the_palette_reaches_every_action(app: CharlieApp, until: Until) -> None:
    async with app.run_test() as pilot:
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert titles >= {"Help", "Chat", "Journal", "Models", "Log", "Quit", "Stop", "Theme", "Unload"}
        assert titles >= {"Warm instruct", "Warm embedding", "Warm reranker"}
        await pilot.press("f5")
        await until(pilot, lambda: app.current_mode == "log")
        assert {"Save", "Level"} <= {command.title for command in app.get_system_commands(app.screen)}


async def test_a_model_is_warmed_from_the_palette(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: bool(app.screen.query(Input)))
        await pilot.press(*"warm emb")
        await pilot.pause()
        await until(pilot, lambda: bool(app.screen.query("CommandList").first().has_class("--populating") is False))
        await pilot.press("down", "enter")
        await until(pilot, lambda: [each.job.kind for each in client.queue()] == [JobKind.WARM])


async def test_one_who_attaches_sees_the_queue(app: CharlieApp, client: Client, until: Until) -> None:
    for _ in range(3):
        client.unload()
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.view.depth == 3)


async def test_a_database_that_comes_back_is_followed_again(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        app = CharlieApp(client, runtime.tick)
        async with app.run_test() as pilot:
            await until(pilot, lambda: client.database_pid() is not None)
            old = client.database_pid()
            assert old is not None
            os.kill(old, signal.SIGKILL)
            await until(pilot, lambda: client.database_pid() not in (old, None))
            client.bus.publish(QueueChanged(5, None), None)
            await until(pilot, lambda: app.view.depth == 5)


async def test_what_cannot_be_mended_is_told_once(client: Client, until: Until) -> None:
    calls: list[None] = []

    def tick() -> None:
        calls.append(None)
        raise DatabaseError("The disk is full.", "Free some space.")

    app = CharlieApp(client, tick)
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(calls) >= 2)
        assert [note.message for note in app._notifications] == ["The disk is full. Free some space."]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_it_leaves_in_order_when_asked_to_end(app: CharlieApp, number: signal.Signals, until: Until) -> None:
    async with app.run_test() as pilot:
        os.kill(os.getpid(), number)
        await until(pilot, lambda: app.return_code == 128 + number)
