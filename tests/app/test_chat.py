"""Chat over a real database; the test plays the worker where a phase has to be held still."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from textual import events
from textual.pilot import Pilot

from app.client import Client
from app.runtime import Runtime
from app.screens.chat import ChatScreen
from app.tui import CharlieApp
from app.widgets.dialogs import ConfirmDialog, TextDialog
from app.widgets.job_line import JobLine
from app.widgets.reply import Reply
from app.widgets.talk import Talk
from app.widgets.transcript import MORE, MOUNTED
from app.widgets.turn import Mine
from core.events import JobProgress, LoadProgress
from core.library import Conversation, MessageState, StoredMessage
from core.paths import find_paths
from core.settings import load_settings
from tasks.jobs import Ended, JobKind, JobState, Text
from tests.app.conftest import Until
from tests.app.stillness import still

AT = 1767600000.0  # 2026-01-05 08:00 UTC
SIZES = [(80, 24), (120, 36)]
STATS = {"completion_tokens": 48, "tokens_per_second": 41.2, "ttft_ms": 38.1, "reused_tokens": 212}
SnapCompare = Callable[..., bool]


def chat(app: CharlieApp) -> ChatScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    return screen


def talk(app: CharlieApp) -> Talk:
    return chat(app).talk


def line(reply: Reply) -> str:
    """What a waiting reply says; nothing before its parts are mounted."""
    return "".join(str(found.content) for found in reply.query(JobLine))


def foot(reply: Reply) -> str:
    return str(reply.foot.content)


def converse(client: Client, title: str, *texts: str, at: float = AT) -> Conversation:
    """A conversation with turns of the person's and of the model's, in turn."""
    conversation = client.library.new_conversation(title)
    for number, text in enumerate(texts):
        role: Literal["user", "assistant"] = "assistant" if number % 2 else "user"
        stats = STATS if number % 2 else None
        client.library.put_message(
            conversation.id, StoredMessage(f"{number:020x}", role, text, at + number, stats=stats)
        )
    return conversation


async def send(pilot: Pilot[None], until: Until, text: str) -> Reply:
    """Type a message, send it, and return its reply, which a real worker may have ended by then."""
    assert isinstance(pilot.app, CharlieApp)
    screen = talk(pilot.app)
    before = len(screen.transcript.replies)
    screen.prompt.insert(text)
    await pilot.press("enter")
    await until(pilot, lambda: len(screen.transcript.replies) == before + 1)
    return screen.transcript.replies[-1]


def take(client: Client, job: str) -> None:
    """Take the job as the worker does, its model being warm."""
    assert client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})


async def test_a_reply_streams_and_ends_with_its_numbers(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "A walk by the river.")
        take(client, reply.turn_id)
        client.jobs.write(reply.turn_id, Text("That sounds **peace"))
        await until(pilot, lambda: reply.words.source == "That sounds **peace")
        client.jobs.write(reply.turn_id, Text("ful**."))
        client.jobs.end(reply.turn_id, Ended(JobState.DONE, {"text": "That sounds **peaceful**.", **STATS}))
        await until(pilot, lambda: not talk(app).live)
        assert reply.words.source == "That sounds **peaceful**."
        assert foot(reply) == "48 tokens · 41 tok/s · first 38 ms · 212 reused"
        assert not reply.query(JobLine)


async def test_what_a_waiting_reply_says(app: CharlieApp, client: Client, until: Until) -> None:
    for kind, seconds in ((JobKind.WARM, 2.0), (JobKind.UNLOAD, 6.0)):
        client.jobs.measure(kind, seconds)
    client.submit(JobKind.WARM, {"role": "instruct"})
    client.unload()
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "Hello")
        await until(pilot, lambda: line(reply) == "waiting · 2 ahead · about 8 s")
        client.jobs.advance(reply.turn_id, JobState.WAITING, {JobState.QUEUED})
        await until(pilot, lambda: line(reply) == "loading …")
        client.bus.publish(LoadProgress("instruct", "qwen3-4b", 0.63))
        await until(pilot, lambda: line(reply) == "loading qwen3-4b ▇▇▇▇▇▇▁▁▁▁ 63%")
        client.jobs.advance(reply.turn_id, JobState.RUNNING, {JobState.WAITING})
        client.bus.publish(JobProgress(reply.turn_id, "prefill", 1204, 2048))
        await until(pilot, lambda: line(reply) == "reading 1,204 of 2,048 tokens")


async def test_a_job_that_runs_says_when_another_model_is_loaded_for_it(
    app: CharlieApp, client: Client, until: Until
) -> None:
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "Hello")
        take(client, reply.turn_id)
        await until(pilot, lambda: line(reply) == "reading")
        client.bus.publish(LoadProgress("instruct", "qwen3-4b", 0.5))
        await until(pilot, lambda: line(reply).startswith("loading qwen3-4b"))


async def test_escape_before_anything_was_said_gives_the_text_back(
    app: CharlieApp, client: Client, until: Until
) -> None:
    async with app.run_test() as pilot:
        await send(pilot, until, "Take me back")
        await pilot.press("x", "escape")
        await until(pilot, lambda: talk(app).prompt.text == "Take me back\nx")
        assert not talk(app).transcript.turns
        conversation = talk(app).conversation
        assert conversation is not None
        assert client.library.messages(conversation.id) == []


async def test_escape_while_it_speaks_keeps_what_was_said(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "Hello")
        take(client, reply.turn_id)
        client.jobs.write(reply.turn_id, Text("Half a"))
        await until(pilot, lambda: reply.text == "Half a")
        await pilot.press("escape")
        await until(pilot, lambda: client.jobs.asked_to_stop(reply.turn_id))
        client.jobs.end(reply.turn_id, Ended(JobState.CANCELLED))
        await until(pilot, lambda: not talk(app).live)
        assert reply.words.source == "Half a"
        assert foot(reply) == "stopped · ^R asks again"


async def test_a_failed_reply_says_why_and_is_asked_for_again(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "Hello")
        take(client, reply.turn_id)
        client.jobs.end(reply.turn_id, Ended(JobState.FAILED, None, "It needs 1.3 GB.", "Close something."))
        await until(pilot, lambda: not talk(app).live)
        assert foot(reply) == "It needs 1.3 GB. Close something. · ^R asks again"
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(talk(app).live) == 1)
        assert talk(app).live[0].turn_id != reply.turn_id
        assert len(talk(app).transcript.turns) == 2


async def test_a_reply_that_is_asked_for_again_stays_until_the_new_one_is_there(
    app: CharlieApp, client: Client, until: Until
) -> None:
    conversation = converse(client, "River", "One", "Precious")
    old = client.library.messages(conversation.id)[1].id
    async with app.run_test() as pilot:
        transcript = talk(app).transcript
        await until(pilot, lambda: len(transcript.turns) == 2)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(talk(app).live) == 1)
        assert [turn.text for turn in transcript.turns] == ["One", ""]
        await pilot.press("escape")
        await until(pilot, lambda: [turn.text for turn in transcript.turns] == ["One", "Precious"])
        assert [message.text for message in client.library.messages(conversation.id)] == ["One", "Precious"]
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(talk(app).live) == 1)
        again = talk(app).live[0]
        assert client.jobs.get(again.turn_id).args["replaces"] == [old]
        take(client, again.turn_id)
        client.jobs.end(again.turn_id, Ended(JobState.FAILED, None, "It needs 1.3 GB.", "Close something."))
        await until(pilot, lambda: [turn.text for turn in transcript.turns] == ["One", "Precious", ""])
        assert foot(again).startswith("It needs 1.3 GB.")


async def test_the_reply_that_is_being_replaced_is_not_shown_beside_the_new_one(
    app: CharlieApp, client: Client, until: Until
) -> None:
    conversation = converse(client, "River", "One", "Two")
    job = client.regenerate(conversation.id)
    async with app.run_test() as pilot:
        await until(pilot, lambda: [reply.turn_id for reply in talk(app).live] == [job.id])
        assert [turn.text for turn in talk(app).transcript.turns] == ["One", ""]
        await pilot.press("escape")
        await until(pilot, lambda: [turn.text for turn in talk(app).transcript.turns] == ["One", "Two"])


async def test_the_real_worker_replaces_a_reply(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client) as runtime:
        app = CharlieApp(client, runtime.tick)
        async with app.run_test() as pilot:
            first = await send(pilot, until, "Hello, Charlie")
            await until(pilot, lambda: not talk(app).live)
            await pilot.press("ctrl+r")
            await until(pilot, lambda: [r.turn_id for r in talk(app).transcript.replies] != [first.turn_id])
            await until(pilot, lambda: not talk(app).live)
            (again,) = talk(app).transcript.replies
            conversation = talk(app).conversation
            assert conversation is not None
            _, stored = client.library.messages(conversation.id)
            assert stored.id == again.turn_id
            (before,) = (item for item in client.jobs.follow(first.turn_id) if isinstance(item, Ended))
            assert stored.stats is not None
            assert before.result is not None
            assert stored.stats["prompt_tokens"] == before.result["prompt_tokens"]


async def test_a_second_message_waits_behind_the_first(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        first = await send(pilot, until, "One")
        second = await send(pilot, until, "Two")
        take(client, first.turn_id)
        client.jobs.write(first.turn_id, Text("first"))
        await until(pilot, lambda: first.text == "first" and line(second) == "waiting · 1 ahead")
        await pilot.press("escape")
        await until(pilot, lambda: talk(app).prompt.text == "Two")
        assert talk(app).live == [first]


async def test_a_running_reply_is_picked_up_from_its_beginning(app: CharlieApp, client: Client, until: Until) -> None:
    conversation = converse(client, "River", "One", "Two")
    job = client.chat(conversation.id, "Three")
    take(client, job.id)
    client.jobs.write(job.id, Text("from the "))
    client.jobs.write(job.id, Text("beginning"))
    async with app.run_test() as pilot:
        await until(pilot, lambda: bool(talk(app).live) and talk(app).live[0].text == "from the beginning")
        assert [turn.text for turn in talk(app).transcript.turns[:3]] == ["One", "Two", "Three"]


async def test_a_reply_asked_for_elsewhere_appears(app: CharlieApp, client: Client, until: Until) -> None:
    conversation = converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2)
        job = client.chat(conversation.id, "Three")
        await until(pilot, lambda: [reply.turn_id for reply in talk(app).live] == [job.id])


async def test_a_message_that_cannot_be_sent_comes_back(app: CharlieApp, client: Client, until: Until) -> None:
    conversation = converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2)
        client.library.delete_conversation(conversation.id)
        talk(app).prompt.insert("Precious")
        await pilot.press("enter")
        await until(pilot, lambda: talk(app).prompt.text == "Precious")
        assert talk(app).notice.has_class("-failed")


async def test_a_message_comes_back_when_the_database_is_lost(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await until(pilot, lambda: talk(app).is_mounted)
            assert runtime._server is not None
            runtime._server.process.kill()
            talk(app).prompt.insert("Precious")
            await pilot.press("enter", *"more")
            await until(pilot, lambda: talk(app).prompt.text == "Precious\nmore")
            assert str(talk(app).notice.content).startswith("The database does not answer")


async def test_text_is_never_markup_nor_control_sequence(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "[red]t", "[bold]b[/] \x1b[31mr\x00", "a\x1b]52;c;aGk=\x07 [link](http://a.invalid)")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2)
        mine, reply = talk(app).transcript.turns
        assert isinstance(mine, Mine)
        assert str(mine.words.content) == "[bold]b[/] [31mr"
        assert isinstance(reply, Reply)
        await until(pilot, lambda: bool(reply.words.source))
        assert reply.words.source == "a]52;c;aGk= [link](http://a.invalid)"
        titles = chat(app).list.options
        await until(pilot, lambda: bool(titles.options))
        assert "[red]t" in str(titles.options[0].prompt)


async def test_a_paste_of_a_megabyte_is_sent_whole(app: CharlieApp, client: Client, until: Until) -> None:
    text = "word " * 200_000
    async with app.run_test() as pilot:
        talk(app).prompt.post_message(events.Paste(text))
        await until(pilot, lambda: talk(app).prompt.text == "[pasted text 1: 1,000,000 characters]")
        await pilot.press("enter")
        await until(pilot, lambda: bool(talk(app).live))
        conversation = talk(app).conversation
        assert conversation is not None
        assert client.library.messages(conversation.id)[0].text == text


async def test_a_paste_with_control_characters_keeps_its_order(app: CharlieApp, until: Until) -> None:
    async with app.run_test() as pilot:
        talk(app).prompt.post_message(events.Paste("ab\x1b[31mcd\x07\x1bef\ngh"))
        await until(pilot, lambda: talk(app).prompt.text == "ab[31mcdef\ngh")


async def test_enter_does_not_overtake_what_is_still_being_typed(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        for key in (*"hello", "enter", "b"):
            app.post_message(events.Key(key, None if key == "enter" else key))
        await until(pilot, lambda: talk(app).prompt.text == "b" and bool(talk(app).live))
        conversation = talk(app).conversation
        assert conversation is not None
        assert [message.text for message in client.library.messages(conversation.id)] == ["hello"]


async def test_only_the_latest_turns_are_mounted_until_one_scrolls_up(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "Long", *(f"turn {number}" for number in range(MOUNTED + MORE)))
    async with app.run_test() as pilot:
        transcript = talk(app).transcript
        await until(pilot, lambda: len(transcript.turns) == MOUNTED)
        await until(pilot, lambda: transcript.scroll_y > 0 and transcript.scroll_y == transcript.max_scroll_y)
        first = transcript.turns[0]
        transcript.scroll_home(animate=False)
        await until(pilot, lambda: len(transcript.turns) == MOUNTED + MORE)
        await until(pilot, lambda: transcript.scroll_y > 0)
        assert transcript.turns[0].text == "turn 0"
        await until(pilot, lambda: transcript.region.contains_region(first.region))


async def test_prompt_keeps_a_history_and_a_draft_for_each_conversation(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "River", "One", "Two", "Three", "Four")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 4)
        await pilot.press("d", "up")
        assert talk(app).prompt.text == "Three"
        await pilot.press("up")
        assert talk(app).prompt.text == "One"
        await pilot.press("down", "down")
        assert talk(app).prompt.text == "d"
        await pilot.press("ctrl+n")
        await until(pilot, lambda: talk(app).conversation is None and talk(app).prompt.text == "")
        await pilot.press("ctrl+b", "enter")
        await until(pilot, lambda: talk(app).prompt.text == "d")


async def test_what_is_typed_while_a_conversation_comes_is_for_that_one(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2)
        await pilot.press("o")
        async with talk(app)._changing:  # as long as this is held, nothing else is shown
            await pilot.press("ctrl+n", "n", "enter", "m")
        await until(pilot, lambda: len(talk(app).live) == 1)
        assert [turn.text for turn in talk(app).transcript.turns] == ["n", ""]
        assert talk(app).prompt.text == "m"
        await pilot.press("ctrl+b", "down", "enter")
        await until(pilot, lambda: talk(app).prompt.text == "o")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: talk(app).conversation is None and talk(app).prompt.text == "")


async def test_a_draft_stays_with_the_new_conversation_that_it_was_begun_in(
    app: CharlieApp, client: Client, until: Until
) -> None:
    async with app.run_test() as pilot:
        async with talk(app)._changing:
            await pilot.press("n", "enter", "ctrl+n", "d")  # the first is not there yet
        await until(pilot, lambda: len(client.library.conversations()) == 1)
        await until(pilot, lambda: talk(app).conversation is None and not talk(app).transcript.turns)
        assert talk(app).prompt.text == "d"
        await pilot.press("ctrl+n", "e")
        assert talk(app).prompt.text == "de"
        await pilot.press("ctrl+b", "down", "enter")
        await until(pilot, lambda: talk(app).conversation is not None and talk(app).prompt.text == "")


async def test_what_is_typed_right_after_a_key_is_not_overtaken_by_it(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2)
        for key in ["o", "ctrl+n", "n"]:  # all are there before one is dealt with
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: talk(app).conversation is None and talk(app).prompt.text == "n")


async def test_page_keys_scroll_the_turns_while_the_prompt_fits(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "Long", *(f"turn {number}" for number in range(20)))
    async with app.run_test() as pilot:
        transcript = talk(app).transcript
        await until(pilot, lambda: transcript.scroll_y == transcript.max_scroll_y > 0)
        await pilot.press("pageup")
        await until(pilot, lambda: 0 < transcript.scroll_y < transcript.max_scroll_y)
        await pilot.press("ctrl+home")
        await until(pilot, lambda: transcript.scroll_y == 0)
        await pilot.press("pagedown")
        await until(pilot, lambda: transcript.scroll_y > 0)
        await pilot.press("ctrl+end")
        await until(pilot, lambda: transcript.scroll_y == transcript.max_scroll_y)
        talk(app).prompt.insert("line\n" * 30)
        await until(pilot, lambda: talk(app).prompt.max_scroll_y > 0)
        await pilot.press("ctrl+home")
        assert talk(app).prompt.cursor_location == (0, 0)
        await pilot.press("pagedown")
        assert talk(app).prompt.cursor_location[0] > 0
        assert transcript.scroll_y == transcript.max_scroll_y


async def test_the_list_opens_on_the_open_conversation_and_forgets_its_search(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "Bread", "Rise", "Well")
    converse(client, "River", "One", "Two", at=AT + 100)
    async with app.run_test() as pilot:
        listed = chat(app).list
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2 and listed.options.option_count == 2)
        await pilot.press("ctrl+b", "down", "ctrl+b")
        assert listed.highlighted is not None
        assert listed.highlighted.title == "Bread"
        await pilot.press("ctrl+b")
        assert listed.highlighted.title == "River"
        await pilot.press("slash", *"bre")
        await until(pilot, lambda: listed.options.option_count == 1)
        await pilot.press("escape")
        await until(pilot, lambda: listed.options.option_count == 2)
        assert listed.field.value == ""


async def test_the_empty_chat_says_that_no_model_is_configured(app: CharlieApp, client: Client) -> None:
    async with app.run_test():
        assert "No model is configured" in str(talk(app).transcript.invitation.content)
    client.settings = client.settings.model_copy(
        update={"instruct": client.settings.instruct.model_copy(update={"file": Path("real.gguf")})}
    )
    other = CharlieApp(client)
    async with other.run_test():
        assert str(talk(other).transcript.invitation.content).endswith("leaves this machine.")


async def test_what_is_outside_the_context_is_said_in_one_line(app: CharlieApp, client: Client, until: Until) -> None:
    river = converse(client, "River", "One")
    stats = {**STATS, "left_out": 12, "truncated": True}
    client.library.put_message(river.id, StoredMessage(f"{1:020x}", "assistant", "Two", AT + 1, stats=stats))
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(talk(app).transcript.replies) == 1)
        (reply,) = talk(app).transcript.replies
        said = "12 earlier turns are outside the context"
        cut = "the message was longer than the context: only its end was read"
        await until(pilot, lambda: str(reply.left_out.content) == f"{said} · {cut}")
        assert foot(reply) == "48 tokens · 41 tok/s · first 38 ms · 212 reused"


async def test_an_earlier_turn_is_changed_in_a_branch(app: CharlieApp, client: Client, until: Until) -> None:
    old = converse(client, "River", "One", "Two", "Three", "Four")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 4)
        talk(app).transcript.turns[-1].focus()
        await pilot.press("up", "e")
        await until(pilot, lambda: talk(app).prompt.text == "Three")
        assert [turn.text for turn in talk(app).transcript.turns] == ["One", "Two"]
        assert len(client.library.messages(old.id)) == 4
        assert len(client.library.conversations()) == 2


async def test_a_conversation_is_deleted_only_when_asked_twice(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "River", "One", "Two")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2)
        chat(app).list.options.focus()
        await until(pilot, lambda: chat(app).list.highlighted is not None)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        assert len(client.library.conversations()) == 1
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: not client.library.conversations())
        await until(pilot, lambda: not talk(app).transcript.turns)


async def test_a_conversation_is_renamed_searched_and_exported(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "Bread", "Rise", "Well")
    converse(client, "River", "One", "Two", at=AT + 100)
    async with app.run_test(size=(120, 36)) as pilot:
        options = chat(app).list.options
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2 and options.option_count == 2)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        await pilot.press("end", *" walk", "enter")
        await until(pilot, lambda: "River walk" in str(options.options[0].prompt))
        options.focus()
        await pilot.press("slash", *"bRE")
        await until(pilot, lambda: [str(option.prompt).strip() for option in options.options] == ["Bread"])
        await pilot.press("ctrl+s")
        folder = client.paths.data / "exports"
        await until(pilot, lambda: folder.exists() and any(folder.iterdir()))
        (file,) = folder.iterdir()
        assert file.read_text().startswith("# River walk\n\n## You · 2026-01-05 08:01\n\nOne\n")
        await until(pilot, lambda: talk(app).notice.has_class("-told"))


async def test_copying_a_reply(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "River", "One", "Two **2**")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2)
        await pilot.press("ctrl+y")
        assert app.clipboard == "Two **2**"


async def test_the_real_worker_answers(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client) as runtime:
        app = CharlieApp(client, runtime.tick)
        async with app.run_test() as pilot:
            reply = await send(pilot, until, "Hello, Charlie")
            await until(pilot, lambda: not talk(app).live)
            assert reply.text
            assert " tokens · " in foot(reply)
            assert "starter model" in reply.header.remark
            conversation = talk(app).conversation
            assert conversation is not None
            assert [m.role for m in client.library.messages(conversation.id)] == ["user", "assistant"]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_nothing_yet(app: CharlieApp, size: tuple[int, int], snap_compare: SnapCompare) -> None:
    assert snap_compare(app, terminal_size=size, run_before=still)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_a_conversation(
    app: CharlieApp, client: Client, until: Until, size: tuple[int, int], snap_compare: SnapCompare
) -> None:
    converse(client, "Exam week", "Tired.", at=AT - 9000)
    river = converse(client, "The river walk", "I went for a *long* walk.", "That sounds **peaceful**.\n\n- a\n- b")
    stats = {**STATS, "left_out": 12, "starter": True}
    client.library.put_message(river.id, StoredMessage(f"{2:020x}", "user", "And then?", AT + 60))
    stopped = StoredMessage(f"{3:020x}", "assistant", "Then you", AT + 61, MessageState.CANCELLED, stats)
    client.library.put_message(river.id, stopped)

    async def settle(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 4)
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_prefill(
    app: CharlieApp, client: Client, until: Until, size: tuple[int, int], snap_compare: SnapCompare
) -> None:
    river = converse(client, "The river walk", "I went for a long walk.", "That sounds peaceful.")
    client.library.put_message(river.id, StoredMessage(f"{2:020x}", "user", "And then?", AT + 60))
    job = client.submit(JobKind.CHAT, {"conversation": river.id, "sampling": {}}, river.id)
    take(client, job.id)

    async def settle(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(talk(app).live) == 1)

        def told() -> bool:
            # Progress is not kept for who follows the events later than it was published.
            client.bus.publish(JobProgress(job.id, "prefill", 1204, 2048))
            return line(talk(app).live[0]).startswith("reading 1,204")

        await until(pilot, told)
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


def test_picture_of_the_list_over_the_content(
    app: CharlieApp, client: Client, until: Until, snap_compare: SnapCompare
) -> None:
    converse(client, "Exam week", "Tired.", at=AT - 9000)
    converse(client, "The river walk", "I went for a long walk.", "That sounds peaceful.")

    async def settle(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(talk(app).transcript.turns) == 2)
        await pilot.press("ctrl+b")
        options = chat(app).list.options
        await until(pilot, lambda: options.option_count == 2 and options.has_focus)
        await still(pilot)

    assert snap_compare(app, terminal_size=(80, 24), run_before=settle)
