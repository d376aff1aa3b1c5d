"""Takes the README's picture from the running program: real database, worker, models. `python -m tests.screenshot`."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

PICTURE = Path(__file__).parent.parent / ".readme" / "chat.svg"
SIZE = (110, 30)
DEADLINE_SECONDS = 60.0


async def take() -> None:
    from app.client import Client
    from app.runtime import Runtime
    from app.tui import CharlieApp
    from core.library import MessageState
    from core.paths import find_paths
    from core.settings import load_settings

    client = Client(load_settings(), find_paths())
    with Runtime(client) as runtime:
        for title in ("Bread", "Exam week"):
            client.library.new_conversation(title)
        app = CharlieApp(client, runtime.tick)
        async with app.run_test(size=SIZE) as pilot, asyncio.timeout(DEADLINE_SECONDS):
            await pilot.press("ctrl+n", *"Today I went for a long walk by the river and feel calm.", "enter")
            while not any(
                message.role == "assistant" and message.state is MessageState.COMPLETE
                for conversation in client.library.conversations()
                for message in client.library.messages(conversation.id)
            ):
                await pilot.pause(0.1)
            await pilot.pause(1)
            PICTURE.parent.mkdir(exist_ok=True)
            PICTURE.write_text(app.export_screenshot(title="Charlie"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ["CHARLIE_HOME"] = home
        os.environ["CHARLIE_INSTRUCT__SAMPLING__MAX_TOKENS"] = "48"
        asyncio.run(take())
