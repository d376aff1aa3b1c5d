from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from textual.widgets import Input
from textual.widgets._toast import Toast

from app.client import Client
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from app.tui.chat.conversation import ConversationView
from app.tui.chat.prompt import Prompt
from app.tui.host import Host
from app.tui.machine_view import MachineView
from app.tui.opening import Opened
from app.tui.shared.status_bar import StatusBar
from core.database.connection import read_address
from core.errors import DatabaseError
from core.events.types import JobKind, QueueChanged
from core.library.records import StoredMessage
from core.paths import find_paths
from core.settings_file import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.conftest import Until

PROBE = """
import sys
from app.client import Client
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from app.tui.models.model_table import ModelTable
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
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


@pytest.mark.slow
def test_the_process_of_the_interface_loads_no_inference(home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_the_application_is_the_host_that_its_widgets_expect(app: CharlieApp) -> None:
    host: Host = app  # checked by mypy
    assert host.view == MachineView()


@pytest.mark.slow
async def test_every_mode_has_its_key(app: CharlieApp, until: Until) -> None:
    async with app.run_test() as pilot:
        assert app.current_mode == "chat"
        for key, mode in (("f3", "journal"), ("f4", "models"), ("f5", "log"), ("f2", "chat")):
            await pilot.press(key)
            await until(pilot, lambda mode=mode: app.current_mode == mode)  # type: ignore[misc]


async def test_keys_are_taken_from_the_settings(home: Path, until: Until) -> None:
    client = Client(load_settings(interface={"keys": {"app.models": "f9"}}), find_paths())
    with Runtime(client, worker=False):
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await pilot.press("f4")
            assert app.current_mode == "chat"
            await pilot.press("f9")
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


async def test_an_attached_interface_shows_the_queue(app: CharlieApp, client: Client, until: Until) -> None:
    for _ in range(3):
        client.unload()
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.view.depth == 3)


async def test_an_event_draws_only_the_widgets_that_show_it(
    app: CharlieApp, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.screen.query_one(Prompt).has_focus)
        await pilot.pause()
        drawn: list[object] = []
        monkeypatch.setattr(app.screen, "refresh", lambda *_, **__: drawn.append("the whole screen"))
        client.bus.publish(QueueChanged(5, None), None)
        await until(pilot, lambda: app.view.depth == 5)
        assert not drawn


async def test_events_are_followed_again_after_a_database_restart(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        app = CharlieApp(client, runtime.tick)
        async with app.run_test() as pilot:
            await until(pilot, lambda: read_address(client.paths) is not None)
            old = read_address(client.paths)
            assert old is not None
            os.kill(old.pid, signal.SIGKILL)
            await until(pilot, lambda: read_address(client.paths) not in (old, None))

            def shown() -> bool:
                client.bus.publish(QueueChanged(5, None), None)  # one before the events are followed again is missed
                return app.view.depth == 5

            await until(pilot, shown)


async def test_keys_typed_before_the_client_is_there_are_kept(client: Client, until: Until) -> None:
    conversation = client.conversations.new_conversation("The river walk")
    there = threading.Event()

    def opened() -> Opened:
        assert there.wait(20)
        return Opened(client)

    app = CharlieApp(opened)
    async with app.run_test() as pilot:
        await until(pilot, lambda: bool(app.screen.query(Prompt)) and app.screen.query_one(Prompt).has_focus)
        await pilot.press(*"hello")
        assert app.screen.query_one(Prompt).text == "hello"
        there.set()
        view = app.screen.query_one(ConversationView)
        await until(pilot, lambda: view.conversation is not None)
        assert view.conversation == conversation
        assert view.prompt.text == "hello"


async def test_a_client_that_cannot_be_opened_ends_the_app_with_its_error() -> None:
    def opened() -> Opened:
        raise DatabaseError("The database file is damaged.")

    app = CharlieApp(opened)
    await app.run_async(headless=True)
    assert str(app.failure) == "The database file is damaged."


async def test_a_lasting_error_is_shown_once(client: Client, until: Until) -> None:
    calls: list[None] = []

    def tick() -> str:
        calls.append(None)
        raise DatabaseError("The disk is full.", "Free some space.")

    app = CharlieApp(client, tick)
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(calls) >= 2)
        assert [note.message for note in app._notifications] == ["The disk is full. Free some space."]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signals_quit_in_order(app: CharlieApp, number: signal.Signals, until: Until) -> None:
    async with app.run_test() as pilot:
        os.kill(os.getpid(), number)
        await until(pilot, lambda: app.return_code == 128 + number)


def notes(app: CharlieApp) -> list[str]:
    return [note.message for note in app._notifications]


async def test_a_toast_is_one_line_at_the_top(app: CharlieApp, until: Until) -> None:
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.pause()
        app.action_help_quit()
        app.notify("The database could not be started again: no space is left on the device.", severity="error")
        await until(pilot, lambda: len(app.screen.query(Toast)) == 2 and app.screen.query(Toast)[1].region.height > 0)
        assert notes(app)[0] == "Do you want to quit? Press Ctrl+Q."
        first, second = (toast.region for toast in app.screen.query(Toast))
        assert (first.height, second.bottom) == (1, 3)
        below = [app.screen.query_one(StatusBar).region, app.screen.query_one(Prompt).region]
        assert not any(toast.overlaps(each) for toast in (first, second) for each in below)


async def test_an_unknown_theme_is_reported_in_one_sentence(home: Path, until: Until) -> None:
    client = Client(load_settings(interface={"theme": "nope"}), find_paths())
    with Runtime(client, worker=False):
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await until(pilot, lambda: notes(app) == ["There is no theme 'nope'; Ctrl+P lists them."])


async def test_keys_for_unknown_actions_are_reported(home: Path, until: Until) -> None:
    keys = {"chat.nothing": "f8", "app.models": "f9", "models.warm": "x"}
    client = Client(load_settings(interface={"keys": keys}), find_paths())
    with Runtime(client, worker=False):
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await until(pilot, lambda: notes(app) == ["[interface.keys] names no action: chat.nothing."])


async def test_a_key_in_use_is_reported_once(home: Path, until: Until) -> None:
    keys = {"app.models": "f2", "models.warm": "s"}
    client = Client(load_settings(interface={"keys": keys}), find_paths())
    with Runtime(client, worker=False):
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await pilot.press("f1", "escape")
            await until(pilot, lambda: notes(app) == ["[interface.keys]: f2 is the key of app.chat and of app.models."])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["f2", "f3", "f4", "f5", "f1"])
async def test_no_window_is_too_small(client: Client, mode: str) -> None:
    conversation = client.conversations.new_conversation("The river walk")
    client.conversations.put_message(conversation.id, StoredMessage("1", "user", "A long walk by the river"))
    client.conversations.put_message(conversation.id, StoredMessage("2", "assistant", "That **sounds** peaceful."))
    client.journal.new_entry("Walked by the river with Anna.")
    app = CharlieApp(client)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press(mode)
        for size in ((50, 14), (30, 10), (12, 6), (5, 4), (2, 2), (1, 1), (120, 36)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        assert app.is_running
