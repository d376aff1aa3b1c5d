"""The catalogue's models on the Models screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual.widgets import Static

from app.tui.offer_list import OfferList
from core.events.types import MemoryRead
from core.memory.types import Memory
from core.roles import Role
from core.settings_file import load_settings
from tests.app.tui.models.test_models_screen import open_models
from tests.hub import Hub
from tests.model_files import write_random

if TYPE_CHECKING:
    from pathlib import Path

    from app.client import Client
    from app.tui.app import CharlieApp
    from tests.app.conftest import Until

GIB = 1024**3
MEMORY = Memory(16 * GIB, 9 * GIB, GIB // 2)


def offers(app: CharlieApp) -> str:
    return str(app.screen.query_one(OfferList).visual)


async def test_the_list_follows_the_role_and_the_window(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test(size=(80, 36)) as pilot:
        await open_models(pilot, until)
        client.bus.publish(MemoryRead(MEMORY, 0))
        await until(pilot, lambda: "● LFM2 8B-A1B" in offers(app))
        assert offers(app).startswith("f fetches a model for the role · ← → choose another")
        assert offers(app).count("○") == 6
        await pilot.press("right", "right")
        assert "● Qwen3.5 0.8B" in offers(app)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "○" not in offers(app))
        assert "● Qwen3.5 0.8B" in offers(app)
        await pilot.press("down", "down")
        await until(pilot, lambda: "● Qwen3 Reranker" in offers(app))
        assert "words/s" not in offers(app)


@pytest.mark.slow
async def test_f_fetches_for_the_role_and_the_table_follows(
    app: CharlieApp, client: Client, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app.run_test(size=(100, 36)) as pilot:
        await open_models(pilot, until)
        client.bus.publish(MemoryRead(MEMORY, 0))
        await until(pilot, lambda: "● LFM2 8B-A1B" in offers(app))
        chosen = app.screen.query_one(OfferList).chosen
        assert chosen is not None
        hub = Hub(write_random(tmp_path / "tiny.gguf").read_bytes(), chosen.model.repo, chosen.model.file)
        with hub.served() as address:
            monkeypatch.setenv("HF_ENDPOINT", address)
            await pilot.press("f")
            await until(pilot, (client.paths.models / hub.file).exists)
            await until(pilot, client.paths.config_file.exists)
            await until(pilot, lambda: chosen.model.file in str(app.screen.query_one("#details", Static).content))
        assert load_settings().role(Role.INSTRUCT).file == client.paths.models / chosen.model.file
