"""Deleting, bringing back and the history of conversations, here and in another process."""

from __future__ import annotations

from functools import partial

import pytest

from app.client import Client
from app.library_changes import bring_back, delete_conversation, rename_conversation
from app.tui.app import CharlieApp
from app.tui.chat.screen import ChatScreen
from app.tui.library.history import HistoryScreen
from app.tui.shared.dialogs import ConfirmDialog
from core.events.types import JobState, LibraryChanged
from core.library.records import StoredMessage
from tasks.jobs.records import Ended
from tests.app.conftest import Until
from tests.app.tui.chat.test_chat import chat, converse, take, view


def titles(app: CharlieApp) -> list[str]:
    """The titles in the list."""
    return [str(option.prompt).split("\n")[0].strip("▸\u00a0 ") for option in chat(app).list.options.options]


def history(app: CharlieApp) -> HistoryScreen:
    assert isinstance(app.screen, HistoryScreen)
    return app.screen


def texts(app: CharlieApp) -> list[str]:
    return [turn.text for turn in view(app).transcript.turns]


async def test_the_list_follows_another_process(app: CharlieApp, client: Client, until: Until) -> None:
    bread = converse(client, "Bread", "Rise", "Well")
    converse(client, "River", "One", "Two")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: titles(app) == ["River", "Bread"])
        rename_conversation(client, bread.id, "Rye bread")
        await until(pilot, lambda: titles(app) == ["River", "Rye bread"])
        delete_conversation(client, bread.id)
        await until(pilot, lambda: titles(app) == ["River"])
        bring_back(client, client.trash.item(bread.id))
        await until(pilot, lambda: "Rye bread" in titles(app))
        converse(client, "Imported", "A", "B")
        client.bus.publish(LibraryChanged())
        await until(pilot, lambda: "Imported" in titles(app))


async def test_an_open_conversation_that_is_deleted_elsewhere_closes_and_leaves_the_prompt(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "Bread", "Rise", "Well")
    river = converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(texts(app)) == 2)
        await pilot.press(*"not sent")
        delete_conversation(client, river.id)
        await until(pilot, lambda: view(app).conversation is None and not texts(app))
        assert view(app).prompt.text == "not sent"
        await until(pilot, lambda: "is in the trash" in str(view(app).notice.content))
        await pilot.press("enter")
        await until(pilot, lambda: len(view(app).live) == 1)
        assert not client.conversations.has_conversation(river.id)


async def test_the_open_conversation_shows_what_another_process_has_added(
    app: CharlieApp, client: Client, until: Until
) -> None:
    river = converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(texts(app)) == 2)
        await pilot.press("d")
        client.conversations.put_message(river.id, StoredMessage(f"{2:020x}", "user", "Imported"))
        client.bus.publish(LibraryChanged(river.id))
        await until(pilot, lambda: texts(app) == ["One", "Two", "Imported"])
        assert view(app).prompt.text == "d"


@pytest.mark.slow
async def test_the_last_deleted_conversation_is_brought_back_from_the_list(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "Bread", "Rise", "Well")
    converse(client, "River", "One", "Two")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(titles(app)) == 2 and len(texts(app)) == 2)
        await until(pilot, lambda: chat(app).list.highlighted is not None)
        await pilot.press("q")
        chat(app).list.begin()
        for left in (1, 0):
            await pilot.press("d")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            assert "trash for 30 days" in str(app.screen.query_one("Label").render())
            await pilot.press("tab", "enter")
            await until(pilot, partial(lambda count: len(titles(app)) == count, left))
        assert view(app).prompt.text == "q"
        await pilot.press("u")
        await until(pilot, lambda: texts(app) == ["Rise", "Well"] and titles(app) == ["Bread"])
        await pilot.press("u")
        await until(pilot, lambda: texts(app) == ["One", "Two"])
        await pilot.press("u")
        await until(pilot, lambda: str(view(app).notice.content) == "The trash holds no conversation.")


@pytest.mark.slow
async def test_earlier_replies_and_titles_are_shown_and_brought_back(
    app: CharlieApp, client: Client, until: Until
) -> None:
    river = converse(client, "River", "One", "First reply")
    rename_conversation(client, river.id, "Sea")
    async with app.run_test() as pilot:
        await until(pilot, lambda: texts(app) == ["One", "First reply"])
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(view(app).live) == 1)
        again = view(app).live[0]
        take(client, again.turn_id)
        client.conversations.put_message(river.id, StoredMessage(again.turn_id, "assistant", "Second reply"))
        client.conversations.delete_messages(river.id, again.replaces)
        client.jobs.end(again.turn_id, Ended(JobState.DONE, {"text": "Second reply"}))
        await until(pilot, lambda: str(again.earlier.content) == "1 earlier reply · h shows them")
        again.focus()
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
        await until(pilot, lambda: "First reply" in str(history(app).difference.content))
        await pilot.press("enter")
        await until(pilot, lambda: texts(app) == ["One", "First reply"])
        (reply,) = view(app).transcript.replies
        await until(pilot, lambda: reply.has_class("-again"))
        await pilot.press("ctrl+b", "h")
        await until(pilot, lambda: isinstance(app.screen, HistoryScreen))
        assert history(app).options.option_count == 2  # the second reply, the first title
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        await until(pilot, lambda: client.conversations.conversation(river.id).title == "River")
        await until(pilot, lambda: titles(app) == ["River"])


async def test_a_conversation_without_history_says_so(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "River", "One", "Two")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: chat(app).list.highlighted is not None and len(texts(app)) == 2)
        chat(app).list.begin()
        await pilot.press("h")
        await until(pilot, lambda: "no earlier title" in str(view(app).notice.content))
