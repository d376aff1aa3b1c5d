"""A thought in the chat: said while it streams, then one line that opens and closes."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from app.client import Client
from app.tui.app import CharlieApp
from app.tui.chat.reply import Reply
from core.events.types import JobProgress, JobState
from core.library.records import StoredMessage
from tasks.jobs.records import Ended, Text, Thought
from tests.app.conftest import Until
from tests.app.tui.chat.test_chat import AT, SIZES, STATS, SnapCompare, chat, line, send, take, view
from tests.app.tui.stillness import still

THOUGHT = (
    "The person walked by the river and is **calm**.\n\n1. They may want to tell more.\n2. A question helps: "
    "which moment was the best?\n\nI should stay brief."
)
ANSWER = "That sounds peaceful. What was the best moment of it?"
THINKING = {**STATS, "reasoning_tokens": 212, "reasoning_ms": 4200.0, "reasoning_cut": False}


def fold(reply: Reply) -> str:
    """The line of the thought; empty while it is hidden."""
    return str(reply.thought.query_one(".fold", Static).content) if reply.thought.display else ""


def opened(reply: Reply) -> str:
    """The thought as far as it is shown."""
    body = reply.thought._body
    return body.source if body.display else ""


def store(client: Client, **stats: object) -> None:
    conversation = client.conversations.new_conversation("The river walk")
    question = StoredMessage("1", "user", "I went for a walk by the river and feel calm.", AT)
    reply = StoredMessage("2", "assistant", ANSWER, AT + 60, stats={**THINKING, **stats}, reasoning=THOUGHT)
    for message in (question, reply):
        client.conversations.put_message(conversation.id, message)


async def first_reply(app: CharlieApp, pilot: Pilot[None], until: Until) -> Reply:
    await until(pilot, lambda: bool(view(app).transcript.replies))
    return view(app).transcript.replies[0]


async def test_thinking_is_the_state_of_the_reply_and_then_folds(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "A walk by the river.")
        take(client, reply.turn_id)
        client.jobs.write(reply.turn_id, Thought("The person "))
        client.bus.publish(JobProgress(reply.turn_id, "think", 3))
        await until(pilot, lambda: line(reply) == "thinking … 0 s · Esc stops")
        client.jobs.write(reply.turn_id, Thought("walked."))
        await until(pilot, lambda: reply.thought.text == "The person walked.")
        assert fold(reply) == ""
        assert reply.markdown.source == ""
        client.jobs.write(reply.turn_id, Text("That sounds"))
        await until(pilot, lambda: fold(reply) == "▸ thought")
        assert reply.markdown.source == "That sounds"
        result = {"text": ANSWER, "reasoning": "The person walked.", **THINKING}
        client.jobs.end(reply.turn_id, Ended(JobState.DONE, result))
        await until(pilot, lambda: fold(reply) == "▸ thought for 4 s, 212 tokens")
        assert reply.markdown.source == ANSWER


async def test_a_key_opens_and_closes_the_thought(app: CharlieApp, client: Client, until: Until) -> None:
    store(client)
    async with app.run_test() as pilot:
        reply = await first_reply(app, pilot, until)
        await until(pilot, lambda: fold(reply) == "▸ thought for 4 s, 212 tokens")
        assert opened(reply) == ""
        reply.focus()
        await pilot.press("t")
        await until(pilot, lambda: opened(reply) == THOUGHT)
        assert fold(reply) == "▾ thought for 4 s, 212 tokens"
        await pilot.press("t")
        await until(pilot, lambda: opened(reply) == "")
        await pilot.press("y")
        assert app.clipboard == ANSWER, "the thought is no part of the reply"


async def test_the_mouse_opens_and_closes_the_thought(app: CharlieApp, client: Client, until: Until) -> None:
    store(client)
    async with app.run_test() as pilot:
        reply = await first_reply(app, pilot, until)
        await until(pilot, lambda: bool(fold(reply)))
        await pilot.click(reply.thought.query_one(".fold", Static), offset=(3, 0))
        await until(pilot, lambda: opened(reply) == THOUGHT)
        await pilot.click(reply.thought._body, offset=(4, 0))
        assert opened(reply) == THOUGHT, "a click into the text may select it"
        await pilot.click(reply.thought.query_one(".fold", Static), offset=(0, 0))
        await until(pilot, lambda: opened(reply) == "")


async def test_a_cut_thought_is_said(app: CharlieApp, client: Client, until: Until) -> None:
    store(client, reasoning_cut=True)
    async with app.run_test() as pilot:
        reply = await first_reply(app, pilot, until)
        await until(pilot, lambda: fold(reply) == "▸ thought for 4 s, 212 tokens, cut at its limit")


async def test_a_reply_without_a_thought_has_no_line_and_no_key(app: CharlieApp, client: Client, until: Until) -> None:
    conversation = client.conversations.new_conversation("t")
    client.conversations.put_message(conversation.id, StoredMessage("1", "user", "Hello", AT))
    client.conversations.put_message(conversation.id, StoredMessage("2", "assistant", "Hi", AT, stats=STATS))
    async with app.run_test() as pilot:
        reply = await first_reply(app, pilot, until)
        reply.focus()
        await pilot.press("t")
        await pilot.pause()
        assert (fold(reply), opened(reply)) == ("", "")
        assert reply.check_action("thought", ()) is False


async def test_terminal_codes_in_a_thought_are_shown_and_not_obeyed(
    app: CharlieApp, client: Client, until: Until
) -> None:
    conversation = client.conversations.new_conversation("t")
    reply = StoredMessage("2", "assistant", "Hi", AT, stats=THINKING, reasoning="a \x1b[31mred\x07 thought")
    client.conversations.put_message(conversation.id, reply)
    async with app.run_test() as pilot:
        shown = await first_reply(app, pilot, until)
        shown.focus()
        await pilot.press("t")
        await until(pilot, lambda: "thought" in opened(shown))
        assert opened(shown).isprintable()


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", ["folded", "open"])
def test_picture_of_a_thought(
    app: CharlieApp,
    client: Client,
    until: Until,
    size: tuple[int, int],
    state: str,
    theme: str,
    snap_compare: SnapCompare,
) -> None:
    store(client)

    async def settle(pilot: Pilot[None]) -> None:
        app.theme = theme
        reply = await first_reply(app, pilot, until)
        await until(pilot, lambda: bool(fold(reply)))
        if state == "open":
            reply.focus()
            await pilot.press("t")
            await until(pilot, lambda: bool(opened(reply)))
        await still(pilot)
        assert chat(app).view.transcript.replies

    assert snap_compare(app, terminal_size=size, run_before=settle)
