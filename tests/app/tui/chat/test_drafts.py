"""Unsent text of the prompt and of the title's dialog, over a real database and real files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest
from textual import events

from app.client import Client
from app.tui.app import CharlieApp
from app.tui.chat.screen import ChatScreen
from app.tui.shared.dialogs import TextDialog
from core.library.conversations import Conversations
from core.library.drafts import Draft
from tests.app.conftest import Until
from tests.app.tui.chat.test_chat import chat, converse, view

PUT = """
import sys
from pathlib import Path
from core.library.drafts import Draft, Drafts
Drafts(Path(sys.argv[1])).put(Draft(sys.argv[2], sys.argv[3]))
print("put", flush=True)
sys.stdin.read()
"""


@contextmanager
def other_process(client: Client, place: str, text: str) -> Iterator[None]:
    """Another process that keeps a draft; it has ended after the block."""
    command = [sys.executable, "-c", PUT, str(client.paths.drafts), place, text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "put\n"
        yield


def kept(client: Client, place: str) -> str:
    """The draft that this process has written."""
    draft = client.drafts.take(place)
    return draft.text if draft else ""


@pytest.mark.slow
async def test_the_drafts_of_two_conversations_and_a_new_one_survive_quitting(client: Client, until: Until) -> None:
    converse(client, "Bread", "Rise", "Well")
    converse(client, "River", "One", "Two")
    app = CharlieApp(client)
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        await pilot.press("r", "ctrl+n", "n", "ctrl+b", "down", "enter", "b")
    again = CharlieApp(client)
    async with again.run_test() as pilot:
        await until(pilot, lambda: view(again).prompt.text == "n")
        assert view(again).conversation is None
        listed = chat(again).list.options
        await until(pilot, lambda: listed.option_count == 2)
        await pilot.press("ctrl+b", "down", "enter")
        await until(pilot, lambda: view(again).prompt.text == "r")
        await pilot.press("ctrl+b", "down", "enter")
        await until(pilot, lambda: view(again).prompt.text == "b")


async def test_a_long_paste_in_a_draft_is_kept_whole_and_shown_short(client: Client, until: Until) -> None:
    app = CharlieApp(client)
    async with app.run_test() as pilot:
        await pilot.press("a", "space")
        view(app).prompt.post_message(events.Paste("word " * 2_000))
        await until(pilot, lambda: kept(client, "chat:") == "a " + "word " * 2_000)
    again = CharlieApp(client)
    async with again.run_test() as pilot:
        await until(pilot, lambda: view(again).prompt.text == "[pasted text 1: 10,002 characters]")
        await pilot.press("enter")
        await until(pilot, lambda: bool(view(again).live))
        (conversation,) = client.conversations.conversations()
        assert client.conversations.messages(conversation.id)[0].text == "a " + "word " * 2_000
        await until(pilot, lambda: not list(client.paths.drafts.glob("*.json")))


async def test_a_message_is_a_draft_until_it_is_stored(
    client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = Event()
    put = Conversations.put_message
    monkeypatch.setattr(Conversations, "put_message", lambda *args: (go.wait(10), put(*args)))
    app = CharlieApp(client)
    async with app.run_test() as pilot:
        await until(pilot, lambda: "" in view(app).drafts._taken)
        await pilot.press(*"sent", "enter", *"more")
        try:
            await until(pilot, lambda: kept(client, "chat:") == "sent")
            (conversation,) = client.conversations.conversations()
            await until(pilot, lambda: kept(client, f"chat:{conversation.id}") == "more")
        finally:
            go.set()
        await until(pilot, lambda: kept(client, "chat:") == "")
        assert kept(client, f"chat:{conversation.id}") == "more"
        assert [message.text for message in client.conversations.messages(conversation.id)] == ["sent"]


async def test_a_draft_of_a_running_process_is_its_own(client: Client, until: Until) -> None:
    river = converse(client, "River", "One", "Two")
    with other_process(client, f"chat:{river.id}", "theirs"):
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await until(pilot, lambda: river.id in view(app).drafts._taken)
            assert view(app).prompt.text == ""
    again = CharlieApp(client)  # theirs has ended
    async with again.run_test() as pilot:
        await until(pilot, lambda: view(again).prompt.text == "theirs")


async def test_text_typed_before_the_history_is_gone_through_is_the_draft(client: Client, until: Until) -> None:
    river = converse(client, "River", "One", "Two")
    app = CharlieApp(client)
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        await pilot.press("d", "up")
        assert view(app).prompt.text == "One"
        await pilot.press("ctrl+n", "ctrl+b", "enter")
        await until(pilot, lambda: view(app).prompt.text == "d")
        await pilot.press("up", "x", "enter")
        await until(pilot, lambda: len(view(app).live) == 1)
        assert view(app).prompt.text == "d"
        assert [message.text for message in client.conversations.messages(river.id)] == ["One", "Two", "Onex"]


@pytest.mark.slow
async def test_a_title_being_typed_survives_the_end_of_the_process(client: Client, until: Until) -> None:
    river = converse(client, "River", "One", "Two")
    app = CharlieApp(client)
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        await pilot.press("end", *" walk")
    again = CharlieApp(client)
    async with again.run_test() as pilot:
        await until(pilot, lambda: len(view(again).transcript.turns) == 2)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(again.screen, TextDialog))
        await pilot.press("enter")
        await until(pilot, lambda: client.conversations.conversation(river.id).title == "River walk")
        await until(pilot, lambda: kept(client, f"title:{river.id}") == "")


async def test_a_new_conversation_is_renamed_from_the_title_that_it_got(client: Client, until: Until) -> None:
    app = CharlieApp(client)
    async with app.run_test() as pilot:
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: bool(view(app).live))
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        await pilot.press("end", "!", "enter")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        await until(pilot, lambda: [c.title for c in client.conversations.conversations()] == ["hello!"])


async def test_a_draft_that_cannot_be_read_does_not_matter(client: Client, until: Until) -> None:
    client.drafts.put(Draft("chat:", "x"))
    (file,) = client.paths.drafts.glob("*.json")
    file.write_text("{")
    app = CharlieApp(client)
    async with app.run_test() as pilot:
        await pilot.press("n")
        await until(pilot, lambda: kept(client, "chat:") == "n")
