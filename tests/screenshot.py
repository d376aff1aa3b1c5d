"""Takes the README's screenshots, with a real database, worker and models: `python -m tests.screenshot`."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.pilot import Pilot

if TYPE_CHECKING:
    from app.client import Client
    from app.tui.app import CharlieApp

PICTURES = Path(__file__).parent.parent / ".readme"
SIZE = (110, 30)
DEADLINE_SECONDS = 60.0
MESSAGES = ("I baked bread with Mira in the garden and felt calm.", "Who was with me?")
ENTRIES = (
    "On Monday I mended the bike with Tomas. It took longer than I thought.",
    "I baked bread with Mira in the garden on Saturday. I felt calm.",
    "Leila called in the evening and we talked about the wedding.",
    "I went to the coast by train last week. I am happy now.",
)
QUESTION = "Who did I bake bread with?"


async def take() -> None:
    from app.client import Client
    from app.runtime.owner import Runtime
    from app.tui.app import CharlieApp
    from core.paths import find_paths
    from core.settings_file import load_settings

    client = Client(load_settings(), find_paths())
    with Runtime(client) as runtime:
        for title in ("Bread", "Exam week"):
            client.conversations.new_conversation(title)
        app = CharlieApp(client, runtime.tick)
        async with app.run_test(size=SIZE) as pilot, asyncio.timeout(DEADLINE_SECONDS):
            await chat(pilot, client)
            save(app, "chat")
            await ask(pilot, client)
            save(app, "answer")


async def until(pilot: Pilot[None], seen: Callable[[], bool]) -> None:
    while not seen():
        await pilot.pause(0.1)
    await pilot.pause(1)


async def chat(pilot: Pilot[None], client: Client) -> None:
    from core.library.records import MessageState

    def replies() -> int:
        messages = (
            message
            for conversation in client.conversations.conversations()
            for message in client.conversations.messages(conversation.id)
        )
        return sum(each.role == "assistant" and each.state is MessageState.COMPLETE for each in messages)

    await pilot.press("ctrl+n")
    for number, text in enumerate(MESSAGES, start=1):
        await pilot.press(*text, "enter")
        await until(pilot, lambda number=number: replies() == number)  # type: ignore[misc]


async def ask(pilot: Pilot[None], client: Client) -> None:
    from app.tui.journal.screen import JournalScreen
    from core.library.records import EntryState

    for text in ENTRIES:
        client.ingest(client.journal.new_entry(text))
    await until(pilot, lambda: all(each.state is EntryState.INDEXED for each in client.journal.entries()))
    await pilot.press("f3", "ctrl+f", *f"? {QUESTION}", "enter")
    screen = pilot.app.screen
    assert isinstance(screen, JournalScreen)
    await until(pilot, lambda: " tokens" in str(screen.finder.answer.foot.content))


def save(app: CharlieApp, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.svg").write_text(app.export_screenshot(title="Charlie"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["CHARLIE_HOME"] = home
        os.environ["CHARLIE_INSTRUCT__SAMPLING__TEMPERATURE"] = "0"
        asyncio.run(take())
