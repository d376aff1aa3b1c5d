"""Replacing the bundled model by a recommended one, on the Models screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual.widgets import Static

from app.client import Client
from app.tui.app import CharlieApp
from app.tui.models.recommendations import Recommendations
from core.events.types import MemoryRead
from core.memory.readings import read_ram
from core.model_files.recommended import recommended
from core.roles import Role
from core.settings_file import load_settings
from tests.app.tui.models.test_models_screen import AT, MEMORY, open_models
from tests.hub import Hub
from tests.tiny_models import tiny_models

if TYPE_CHECKING:
    from tests.app.conftest import Until


def offers(app: CharlieApp) -> str:
    return str(app.screen.query_one(Recommendations).visual)


def real(role: Role) -> bytes:
    """A tiny model, with so much behind it that its download takes several parts."""
    return tiny_models()[role].read_bytes() + bytes(4_000_000)


@pytest.mark.slow
async def test_the_recommended_model_depends_on_memory(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test(size=(80, 36)) as pilot:
        await open_models(pilot, until)
        client.bus.publish(MemoryRead(MEMORY, AT))
        await until(pilot, lambda: app.view.memory == MEMORY)
        assert "This model is small and weak." in offers(app)
        assert [line.split()[0] for line in offers(app).splitlines() if "suits this machine" in line] == ["●"]
        assert "● Qwen3-8B-Q4_K_M" in offers(app)  # the GPU has 8 GB
        await pilot.press("right")
        assert "● Qwen3-14B-Q4_K_M" in offers(app)
        await pilot.press("right", "right")
        assert "● Qwen3-1.7B-Q8_0" in offers(app)
        assert offers(app).count("○") == 4
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: offers(app).count("○") == 0)
        assert "● Qwen3-1.7B-Q8_0" in offers(app)
        await pilot.press("down", "down")
        await until(pilot, lambda: "● bge-reranker-v2-m3-Q8_0" in offers(app))
        (client.paths.models / "mine.gguf").write_bytes(real(Role.RERANKER))
        client.paths.config_file.write_text('[reranker]\nfile = "mine.gguf"\n')
        await pilot.press("r")
        await until(pilot, lambda: not app.screen.query_one(Recommendations).display)


@pytest.mark.slow
async def test_a_download_can_be_started_and_stopped(
    app: CharlieApp, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recommended(Role.INSTRUCT, read_ram().total)
    hub = Hub(real(Role.INSTRUCT), wanted.repo, wanted.file)
    hub.go.clear()
    with hub.served() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        async with app.run_test(size=(100, 30)) as pilot:
            await open_models(pilot, until)
            await pilot.press("f")
            await until(pilot, lambda: "%" in offers(app) and " 0%" not in offers(app))
            await pilot.press("escape")
            await until(pilot, lambda: "Esc stops" not in offers(app))
            assert not client.paths.config_file.exists()
            hub.go.set()
            await pilot.press("f")
            await until(pilot, lambda: wanted.file in str(app.screen.query_one("#details", Static).content))
            assert load_settings().instruct.file == client.paths.models / wanted.file
            begun = int((hub.ranges[-1] or "0").removeprefix("bytes=").split("-")[0])
            assert begun > 0, "the second download continues the first"
            recommendations = app.screen.query_one(Recommendations)
            assert not recommendations.display
            await pilot.press("f")
            assert recommendations.display
            assert "Another one for instruct: f fetches it, ← → choose" in offers(app)


@pytest.mark.slow
async def test_an_unreachable_hub_is_one_sentence(
    app: CharlieApp, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    async with app.run_test(size=(100, 30)) as pilot:
        await open_models(pilot, until)
        await pilot.press("f")
        await until(pilot, lambda: "The hub 127.0.0.1:9 cannot be reached. Check the connection" in offers(app))
