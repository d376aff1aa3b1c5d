"""The line for somebody in distress, under the reply: with its end, or when the worker has read the message later."""

from __future__ import annotations

from dataclasses import replace

from app.client import Client
from app.tui.app import CharlieApp
from app.tui.chat.screen import ChatScreen
from core.events.types import LibraryChanged, Snapshot, WorkerUp
from core.library.records import StoredMessage
from tests.app.conftest import Until


async def test_the_line_comes_under_the_reply_once_it_is_known(app: CharlieApp, client: Client, until: Until) -> None:
    talk = client.conversations.new_conversation()
    reply = StoredMessage("2", "assistant", "I am sorry.", stats={"distress": False})
    client.conversations.put_message(talk.id, StoredMessage("1", "user", "I took the rope out of the shed."))
    client.conversations.put_message(talk.id, reply)
    async with app.run_test(size=(80, 24)) as pilot:
        client.bus.publish(WorkerUp(7), Snapshot(worker_pid=7))
        await until(pilot, lambda: app.view.snapshot.worker_pid == 7)  # the bus is followed from now on
        screen = app.screen
        assert isinstance(screen, ChatScreen)
        await screen.view.open(talk.id)
        await screen.view.drafts.begun.wait()  # the start opens it too, with new widgets
        await until(pilot, lambda: screen.view.transcript.reply("2") is not None)
        shown = screen.view.transcript.reply("2")
        assert shown is not None
        assert not shown.support.display
        client.conversations.put_message(talk.id, replace(reply, stats={"distress": True}))
        client.bus.publish(LibraryChanged(talk.id))
        await until(pilot, lambda: shown.support.display)
        assert "findahelpline.com" in str(shown.support.content)
        await screen.view.open(None)
        await screen.view.open(talk.id)
        await until(pilot, lambda: any(each.support.display for each in screen.view.transcript.replies))
