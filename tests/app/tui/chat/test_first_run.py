"""The card of a first start, and a download from it, with a hub on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest
from textual.widgets import Input, Static

from app.tui.app import CharlieApp
from app.tui.chat.first_run import CLOSED
from app.tui.chat.screen import ChatScreen
from app.tui.shared.dialogs import TextDialog
from app.tui.shared.status_bar import StatusBar
from core.events.types import MemoryRead
from core.memory.types import Memory
from core.model_files import checksums
from core.model_files.catalogue import PACKAGED, read_catalogue
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tests.app.tui.stillness import still
from tests.hub import Hub
from tests.model_files import Size, write_random

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from textual.pilot import Pilot

    from app.client import Client
    from app.runtime.owner import Runtime
    from app.tui.chat.first_run import FirstRun
    from tests.app.conftest import Until

GIB = 1024**3
MEMORY = Memory(16 * GIB, 9 * GIB, GIB // 2)
OFFERED = "LFM2 8B-A1B"


@pytest.fixture
def home(home: Path) -> Path:
    """A first start."""
    (find_paths().data / CLOSED).unlink()
    return home


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Has a tiny model in place of the offered one, and waits after its first part."""
    offered = next(each for each in read_catalogue(PACKAGED)[Role.INSTRUCT] if each.name == OFFERED)
    file = write_random(tmp_path / "tiny.gguf", size=Size(width=256, feed_forward=512))
    played = Hub(file.read_bytes(), offered.repo, offered.file)
    played.go.clear()
    with played.served() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield played


def first_run(app: CharlieApp) -> FirstRun:
    screen = app.get_screen_stack("chat")[0]
    assert isinstance(screen, ChatScreen)
    return screen.view.transcript.first_run


def card(app: CharlieApp) -> str:
    """The text of the card; empty if it is not shown."""
    shown = first_run(app).query_one("#card")
    return "\n".join(str(each.visual) for each in shown.query(Static)) if shown.region else ""


async def choose_offered(pilot: Pilot[None], until: Until) -> None:
    """Choose the model that the hub has, whatever suits this machine."""
    app = pilot.app
    assert isinstance(app, CharlieApp)
    await until(pilot, lambda: "predicted" in card(app))
    while f"● {OFFERED}" not in card(app):
        await pilot.press("f7")


async def start(pilot: Pilot[None], client: Client, until: Until) -> None:
    """Wait for the offers of a machine of 16 GB."""
    app = pilot.app
    assert isinstance(app, CharlieApp)

    def read() -> bool:
        client.bus.publish(MemoryRead(MEMORY, 0))
        return app.view.memory == MEMORY

    await until(pilot, read)  # again and again, as a worker does: what comes before the bus is followed is missed
    await until(pilot, lambda: f"● {OFFERED}" in card(app))


def status(app: CharlieApp) -> str:
    return app.screen.query_one(StatusBar).render().plain


def downloads() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [each for each in children if "pull" in each.cmdline()]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
def test_snapshot(
    size: tuple[int, int], app: CharlieApp, client: Client, until: Until, snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("app.tui.shared.status_bar.clock", lambda: 60.0)

    async def play(pilot: Pilot[None]) -> None:
        await start(pilot, client, until)
        await pilot.press(*"Hello")
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=play)


async def test_the_card_offers_what_suits_and_the_prompt_is_usable(
    app: CharlieApp, client: Client, until: Until
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await start(pilot, client, until)
        assert "✓ suits" in next(line for line in card(app).splitlines() if OFFERED in line)
        assert "predicted: prefill 240 tok/s, decode 9.2 tok/s" in card(app)
        await pilot.press("f7")
        assert "● Qwen3.5 9B" in card(app)
        await pilot.press("H", "i", "enter")
        await until(pilot, lambda: not card(app) and len(client.queue()) == 1)
        await pilot.press("f6")
        assert app.view.fetch is None, "nothing is fetched that is not seen"


async def test_a_closed_card_is_gone_for_good(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        await start(pilot, client, until)
        await pilot.press("escape")
        await until(pilot, lambda: not card(app))
        assert "F4 offers larger ones" in str(first_run(app).invitation.visual)
    again = CharlieApp(client)
    async with again.run_test() as pilot:
        await until(pilot, lambda: "F4 offers larger ones" in str(first_run(again).invitation.visual))
        assert not card(again)


@pytest.mark.slow
async def test_the_next_message_uses_what_was_fetched(runtime: tuple[Runtime, Client], hub: Hub, until: Until) -> None:
    running, client = runtime
    app = CharlieApp(client, running.tick)
    async with app.run_test(size=(100, 30)) as pilot:
        await choose_offered(pilot, until)
        await pilot.press("f6")
        await until(pilot, lambda: f"↓ {OFFERED} " in status(app) and "% F6 stops" in status(app))
        await pilot.press("f3")
        assert f"↓ {OFFERED} " in status(app), "on every screen"
        await pilot.press("f2")
        hub.go.set()
        await until(pilot, client.paths.config_file.exists)
        await until(pilot, lambda: app.view.fetch is None and not card(app))
        assert str(first_run(app).invitation.visual).endswith("leaves this machine.")
        await pilot.press("H", "i", "enter")
        await until(pilot, lambda: app.view.snapshot.model == "tiny")
    kept = checksums.read(client.paths.models / hub.file)
    assert kept is not None
    assert (kept.repo, kept.sha256, kept.revision) == (hub.repo, hub.etag, "0" * 40)


@pytest.mark.slow
async def test_a_download_stops_at_a_key_and_goes_on_later(
    app: CharlieApp, client: Client, hub: Hub, until: Until
) -> None:
    async with app.run_test() as pilot:
        await choose_offered(pilot, until)
        await pilot.press("f6")
        await until(pilot, lambda: app.view.fetch is not None and bool(app.view.fetch.share))
        await pilot.press("f6")
        await until(pilot, lambda: app.view.fetch is None)
        assert not downloads()
        assert not client.paths.config_file.exists()
        assert card(app)
        hub.go.set()
        await pilot.press("f6")
        await until(pilot, (client.paths.models / hub.file).exists)
        await until(pilot, client.paths.config_file.exists)
        await until(pilot, lambda: not card(app))
        assert int((hub.ranges[-1] or "0").removeprefix("bytes=").split("-")[0]) > 0, "it continues the first"


@pytest.mark.slow
async def test_leaving_stops_a_download_and_says_so(app: CharlieApp, client: Client, hub: Hub, until: Until) -> None:
    async with app.run_test() as pilot:
        await choose_offered(pilot, until)
        await pilot.press("f6")
        await until(pilot, lambda: bool(downloads()) and app.view.fetch is not None and bool(app.view.fetch.share))
        await pilot.press("ctrl+q")
    assert app.last_words == [f"{OFFERED} is not fetched yet; fetching it again goes on from there."]
    assert not downloads()


async def test_an_unreachable_hub_is_one_sentence(
    app: CharlieApp, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    async with app.run_test() as pilot:
        await start(pilot, client, until)
        await pilot.press("f6")
        await until(pilot, lambda: bool(app._notifications))
        (notice,) = app._notifications
        assert notice.message == "The hub 127.0.0.1:9 cannot be reached. Check the connection and try again."
        assert card(app)


@pytest.mark.slow
async def test_a_file_of_ones_own(app: CharlieApp, client: Client, until: Until, tmp_path: Path) -> None:
    mine = write_random(tmp_path / "my model.gguf")
    async with app.run_test() as pilot:
        await start(pilot, client, until)
        for path, seen in (("nothing.gguf", lambda: bool(app._notifications)), (str(mine), lambda: not card(app))):
            await pilot.press("f8")
            await until(pilot, lambda: isinstance(app.screen, TextDialog))
            app.screen.query_one(Input).value = path
            await pilot.press("enter")
            await until(pilot, seen)
        (notice,) = app._notifications
        assert notice.message.startswith("There is no model file ")
    assert load_settings().instruct.file == mine
