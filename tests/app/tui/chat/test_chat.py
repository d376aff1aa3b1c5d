"""Chat over a real database; most tests play the worker, so that they can stop in each phase."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from rich.cells import cell_len
from textual import events
from textual.pilot import Pilot

from app.client import Client
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from app.tui.chat.conversation import ConversationView
from app.tui.chat.reply import Reply
from app.tui.chat.screen import ChatScreen
from app.tui.chat.transcript import EARLIER_TURNS, LATEST_TURNS
from app.tui.chat.turn import UserTurn
from app.tui.journal.screen import JournalScreen
from app.tui.shared.dialogs import ConfirmDialog, TextDialog
from app.tui.shared.job_line import JobLine
from core.events.types import JobKind, JobProgress, JobState, LoadProgress
from core.library.records import Conversation, MessageState, StoredMessage
from core.paths import find_paths
from core.settings_file import load_settings
from tasks.jobs.records import Ended, Text
from tests.app.conftest import Until
from tests.app.tui.stillness import still
from tests.waiting import ended

AT = 1767600000.0  # 2026-01-05 08:00 UTC
SIZES = [(80, 24), (120, 36)]
STATS = {"completion_tokens": 48, "tokens_per_second": 41.2, "ttft_ms": 38.1, "reused_tokens": 212}
SnapCompare = Callable[..., bool]


def chat(app: CharlieApp) -> ChatScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    return screen


def view(app: CharlieApp) -> ConversationView:
    return chat(app).view


def line(reply: Reply) -> str:
    """The job line of a waiting reply; empty before it is mounted."""
    return "".join(str(found.content) for found in reply.query(JobLine))


def foot(reply: Reply) -> str:
    return str(reply.foot.content)


def converse(client: Client, title: str, *texts: str, at: float = AT) -> Conversation:
    """Stores a conversation: a message of the user, a reply, a message, and so on."""
    conversation = client.conversations.new_conversation(title)
    for number, text in enumerate(texts):
        role: Literal["user", "assistant"] = "assistant" if number % 2 else "user"
        stats = STATS if number % 2 else None
        client.conversations.put_message(
            conversation.id, StoredMessage(f"{number:020x}", role, text, at + number, stats=stats)
        )
    return conversation


async def send(pilot: Pilot[None], until: Until, text: str) -> Reply:
    """Types and sends a message; returns its reply, which a real worker may have finished already."""
    assert isinstance(pilot.app, CharlieApp)
    screen = view(pilot.app)
    before = len(screen.transcript.replies)
    screen.prompt.insert(text)
    await pilot.press("enter")
    await until(pilot, lambda: len(screen.transcript.replies) == before + 1)
    return screen.transcript.replies[-1]


def take(client: Client, job: str) -> None:
    """Takes the job like a worker whose model is warm."""
    assert client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})


async def test_a_reply_streams_and_ends_with_its_numbers(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "A walk by the river.")
        take(client, reply.turn_id)
        client.jobs.write(reply.turn_id, Text("That sounds **peace"))
        await until(pilot, lambda: reply.markdown.source == "That sounds **peace")
        client.jobs.write(reply.turn_id, Text("ful**."))
        client.jobs.end(reply.turn_id, Ended(JobState.DONE, {"text": "That sounds **peaceful**.", **STATS}))
        await until(pilot, lambda: not view(app).live)
        assert reply.markdown.source == "That sounds **peaceful**."
        assert foot(reply) == "48 tokens · 41 tok/s · first 38 ms · 212 reused"
        assert not reply.query(JobLine)


async def test_a_waiting_reply_shows_queue_place_then_loading_then_prefill(
    app: CharlieApp, client: Client, until: Until
) -> None:
    for kind, seconds in ((JobKind.WARM, 2.0), (JobKind.UNLOAD, 6.0)):
        client.jobs.measure(kind, seconds)
    client.submit(JobKind.WARM, {"role": "instruct"})
    client.unload()
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "Hello")
        await until(pilot, lambda: line(reply) == "waiting · 2 ahead · about 8 s")
        client.jobs.advance(reply.turn_id, JobState.WAITING, {JobState.QUEUED})
        await until(pilot, lambda: line(reply) == "waiting for the model …")
        client.bus.publish(LoadProgress("instruct", "qwen3-4b", 0.63))
        await until(pilot, lambda: line(reply) == "loading qwen3-4b ▇▇▇▇▇▇▁▁▁▁ 63%")
        client.jobs.advance(reply.turn_id, JobState.RUNNING, {JobState.WAITING})
        client.bus.publish(JobProgress(reply.turn_id, "prefill", 1204, 2048))
        await until(pilot, lambda: line(reply) == "reading 1,204 of 2,048 tokens")


async def test_a_running_job_shows_the_model_being_loaded(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "Hello")
        take(client, reply.turn_id)
        await until(pilot, lambda: line(reply) == "reading")
        client.bus.publish(LoadProgress("instruct", "qwen3-4b", 0.5))
        await until(pilot, lambda: line(reply).startswith("loading qwen3-4b"))


async def test_escape_before_the_first_token_restores_the_prompt(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        await send(pilot, until, "Take me back")
        await pilot.press("x", "escape")
        await until(pilot, lambda: view(app).prompt.text == "Take me back\nx")
        assert not view(app).transcript.turns
        conversation = view(app).conversation
        assert conversation is not None
        assert client.conversations.messages(conversation.id) == []


async def test_escape_while_decoding_keeps_the_text(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "Hello")
        take(client, reply.turn_id)
        client.jobs.write(reply.turn_id, Text("Half a"))
        await until(pilot, lambda: reply.text == "Half a")
        await pilot.press("escape")
        await until(pilot, lambda: client.jobs.asked_to_stop(reply.turn_id))
        client.jobs.end(reply.turn_id, Ended(JobState.CANCELLED))
        await until(pilot, lambda: not view(app).live)
        assert reply.markdown.source == "Half a"
        assert foot(reply) == "stopped · ^R asks again"


async def test_a_failed_reply_shows_the_reason_and_can_be_retried(
    app: CharlieApp, client: Client, until: Until
) -> None:
    async with app.run_test() as pilot:
        reply = await send(pilot, until, "Hello")
        take(client, reply.turn_id)
        client.jobs.end(reply.turn_id, Ended(JobState.FAILED, None, "It needs 1.3 GB.", "Close something."))
        await until(pilot, lambda: not view(app).live)
        assert foot(reply) == "It needs 1.3 GB. Close something. · ^R asks again"
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(view(app).live) == 1)
        assert view(app).live[0].turn_id != reply.turn_id
        assert len(view(app).transcript.turns) == 2


async def test_a_regenerated_reply_stays_until_the_new_one_arrives(
    app: CharlieApp, client: Client, until: Until
) -> None:
    conversation = converse(client, "River", "One", "Precious")
    old = client.conversations.messages(conversation.id)[1].id
    async with app.run_test() as pilot:
        transcript = view(app).transcript
        await until(pilot, lambda: len(transcript.turns) == 2)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(view(app).live) == 1)
        assert [turn.text for turn in transcript.turns] == ["One", ""]
        await pilot.press("escape")
        await until(pilot, lambda: [turn.text for turn in transcript.turns] == ["One", "Precious"])
        assert [message.text for message in client.conversations.messages(conversation.id)] == ["One", "Precious"]
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(view(app).live) == 1)
        again = view(app).live[0]
        assert client.jobs.get(again.turn_id).args["replaces"] == [old]
        take(client, again.turn_id)
        client.jobs.end(again.turn_id, Ended(JobState.FAILED, None, "It needs 1.3 GB.", "Close something."))
        await until(pilot, lambda: [turn.text for turn in transcript.turns] == ["One", "Precious", ""])
        assert foot(again).startswith("It needs 1.3 GB.")


async def test_a_replaced_reply_is_not_shown_beside_the_new_one(app: CharlieApp, client: Client, until: Until) -> None:
    conversation = converse(client, "River", "One", "Two")
    job = client.regenerate(conversation.id)
    async with app.run_test() as pilot:
        await until(pilot, lambda: [reply.turn_id for reply in view(app).live] == [job.id])
        assert [turn.text for turn in view(app).transcript.turns] == ["One", ""]
        await pilot.press("escape")
        await until(pilot, lambda: [turn.text for turn in view(app).transcript.turns] == ["One", "Two"])


async def test_the_real_worker_replaces_a_reply(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client) as runtime:
        app = CharlieApp(client, runtime.tick)
        async with app.run_test() as pilot:
            first = await send(pilot, until, "Hello, Charlie")
            await until(pilot, lambda: not view(app).live)
            await pilot.press("ctrl+r")
            await until(pilot, lambda: [r.turn_id for r in view(app).transcript.replies] != [first.turn_id])
            await until(pilot, lambda: not view(app).live)
            (again,) = view(app).transcript.replies
            conversation = view(app).conversation
            assert conversation is not None
            _, stored = client.conversations.messages(conversation.id)
            assert stored.id == again.turn_id
            before = ended(client.jobs, first.turn_id)
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
        await until(pilot, lambda: view(app).prompt.text == "Two")
        assert view(app).live == [first]


async def test_reopening_shows_a_running_reply_from_its_start(app: CharlieApp, client: Client, until: Until) -> None:
    conversation = converse(client, "River", "One", "Two")
    job = client.chat(conversation.id, "Three")
    take(client, job.id)
    client.jobs.write(job.id, Text("from the "))
    client.jobs.write(job.id, Text("beginning"))
    async with app.run_test() as pilot:
        await until(pilot, lambda: bool(view(app).live) and view(app).live[0].text == "from the beginning")
        assert [turn.text for turn in view(app).transcript.turns[:3]] == ["One", "Two", "Three"]


async def test_a_reply_that_another_process_asked_for_appears(app: CharlieApp, client: Client, until: Until) -> None:
    conversation = converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        job = client.chat(conversation.id, "Three")
        await until(pilot, lambda: [reply.turn_id for reply in view(app).live] == [job.id])


async def test_an_unsent_message_returns_to_the_prompt(app: CharlieApp, client: Client, until: Until) -> None:
    conversation = converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        client.conversations.delete_conversation(conversation.id)
        view(app).prompt.insert("Precious")
        await pilot.press("enter")
        await until(pilot, lambda: view(app).prompt.text == "Precious")
        assert view(app).notice.has_class("-failed")


@pytest.mark.slow
async def test_a_lost_database_returns_the_message_to_the_prompt(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            await until(pilot, lambda: view(app).is_mounted)
            assert runtime._server is not None
            runtime._server.process.kill()
            view(app).prompt.insert("Precious")
            await pilot.press("enter", *"more")
            await until(pilot, lambda: view(app).prompt.text == "Precious\nmore")
            assert str(view(app).notice.content).startswith("The database does not answer")


async def test_neither_markup_nor_control_sequences_in_texts_are_obeyed(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "[red]t", "[bold]b[/] \x1b[31mr\x08", "a\x1b]52;c;aGk=\x07 [link](http://a.invalid)")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        message, reply = view(app).transcript.turns
        assert isinstance(message, UserTurn)
        assert str(message.shown_text.content) == "[bold]b[/] ␛[31mr␈"
        assert isinstance(reply, Reply)
        await until(pilot, lambda: bool(reply.markdown.source))
        assert reply.markdown.source == "a␛]52;c;aGk=␇ [link](http://a.invalid)"
        titles = chat(app).list.options
        await until(pilot, lambda: bool(titles.options))
        assert "[red]t" in str(titles.options[0].prompt)


async def test_a_paste_of_a_megabyte_is_sent_whole(app: CharlieApp, client: Client, until: Until) -> None:
    text = "word " * 200_000
    async with app.run_test() as pilot:
        view(app).prompt.post_message(events.Paste(text))
        await until(pilot, lambda: view(app).prompt.text == "[pasted text 1: 1,000,000 characters]")
        await pilot.press("enter")
        await until(pilot, lambda: bool(view(app).live))
        conversation = view(app).conversation
        assert conversation is not None
        assert client.conversations.messages(conversation.id)[0].text == text


async def test_control_characters_stay_in_a_paste_and_are_drawn_as_pictures(app: CharlieApp, until: Until) -> None:
    async with app.run_test() as pilot:
        view(app).prompt.post_message(events.Paste("ab\x1b[31mcd\x07\x1bef\ngh"))
        await until(pilot, lambda: view(app).prompt.text == "ab\x1b[31mcd\x07\x1bef\ngh")
        assert view(app).prompt.document.lines == ["ab␛[31mcd␇␛ef", "gh"]


async def test_enter_waits_for_keys_typed_before_it(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        for key in (*"hello", "enter", "b"):
            app.post_message(events.Key(key, None if key == "enter" else key))
        await until(pilot, lambda: view(app).prompt.text == "b" and bool(view(app).live))
        conversation = view(app).conversation
        assert conversation is not None
        assert [message.text for message in client.conversations.messages(conversation.id)] == ["hello"]


@pytest.mark.slow
async def test_earlier_turns_are_mounted_on_scrolling_up(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "Long", *(f"turn {number}" for number in range(LATEST_TURNS + EARLIER_TURNS)))
    async with app.run_test() as pilot:
        transcript = view(app).transcript
        await until(pilot, lambda: len(transcript.turns) == LATEST_TURNS)
        await until(pilot, lambda: transcript.scroll_y > 0 and transcript.scroll_y == transcript.max_scroll_y)
        first = transcript.turns[0]
        transcript.scroll_home(animate=False)
        await until(pilot, lambda: len(transcript.turns) == LATEST_TURNS + EARLIER_TURNS)
        await until(pilot, lambda: transcript.scroll_y > 0)
        assert transcript.turns[0].text == "turn 0"
        await until(pilot, lambda: transcript.region.contains_region(first.region))


async def test_a_window_higher_than_the_latest_turns_is_filled(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "Long", *(f"turn {number}" for number in range(LATEST_TURNS + 2)))
    async with app.run_test(size=(80, 200)) as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == LATEST_TURNS + 2)
        assert view(app).transcript.turns[0].text == "turn 0"
        await view(app).transcript.show([])
        await view(app).transcript._load_earlier()  # as one that was asked for just before
        assert view(app).transcript.turns == []


async def test_the_prompt_has_a_history_and_a_draft_for_each_conversation(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "River", "One", "Two", "Three", "Four")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 4)
        await pilot.press("d", "up")
        assert view(app).prompt.text == "Three"
        await pilot.press("up")
        assert view(app).prompt.text == "One"
        await pilot.press("down", "down")
        assert view(app).prompt.text == "d"
        await pilot.press("ctrl+n")
        await until(pilot, lambda: view(app).conversation is None and view(app).prompt.text == "")
        await pilot.press("ctrl+b", "enter")
        await until(pilot, lambda: view(app).prompt.text == "d")


async def test_typing_during_a_slow_switch_goes_to_the_new_conversation(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        await pilot.press("o")
        async with view(app)._changing:  # while this is held, no other conversation is shown
            await pilot.press("ctrl+n", "n", "enter", "m")
        await until(pilot, lambda: len(view(app).live) == 1)
        assert [turn.text for turn in view(app).transcript.turns] == ["n", ""]
        assert view(app).prompt.text == "m"
        await pilot.press("ctrl+b", "down", "enter")
        await until(pilot, lambda: view(app).prompt.text == "o")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: view(app).conversation is None and view(app).prompt.text == "")


async def test_a_draft_stays_with_its_new_conversation(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        async with view(app)._changing:
            await pilot.press("n", "enter", "ctrl+n", "d")  # the first one is not created yet
        await until(pilot, lambda: len(client.conversations.conversations()) == 1)
        await until(pilot, lambda: view(app).conversation is None and not view(app).transcript.turns)
        assert view(app).prompt.text == "d"
        await pilot.press("ctrl+n", "e")
        assert view(app).prompt.text == "de"
        await pilot.press("ctrl+b", "down", "enter")
        await until(pilot, lambda: view(app).conversation is not None and view(app).prompt.text == "")


async def test_typing_right_after_a_bound_key_keeps_its_order(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "River", "One", "Two")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        for key in ["o", "ctrl+n", "n"]:  # all are queued before one is handled
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: view(app).conversation is None and view(app).prompt.text == "n")


async def test_page_keys_scroll_the_turns_while_the_prompt_fits(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "Long", *(f"turn {number}\n\nmore\n\nand more" for number in range(LATEST_TURNS)))
    async with app.run_test() as pilot:
        transcript = view(app).transcript
        await until(pilot, lambda: transcript.scroll_y == transcript.max_scroll_y > 0)
        await pilot.press("pageup")
        await until(pilot, lambda: 0 < transcript.scroll_y < transcript.max_scroll_y)
        await pilot.press("ctrl+home")
        await until(pilot, lambda: transcript.scroll_y == 0)
        await pilot.press("pagedown")
        await until(pilot, lambda: transcript.scroll_y > 0)
        await pilot.press("ctrl+end")
        await until(pilot, lambda: transcript.scroll_y == transcript.max_scroll_y)
        view(app).prompt.insert("line\n" * 30)
        await until(pilot, lambda: view(app).prompt.max_scroll_y > 0)
        await pilot.press("ctrl+home")
        assert view(app).prompt.cursor_location == (0, 0)
        await pilot.press("pagedown")
        assert view(app).prompt.cursor_location[0] > 0
        assert transcript.scroll_y == transcript.max_scroll_y


async def test_the_list_starts_at_the_open_conversation_with_an_empty_search(
    app: CharlieApp, client: Client, until: Until
) -> None:
    converse(client, "Bread", "Rise", "Well")
    converse(client, "River", "One", "Two", at=AT + 100)
    async with app.run_test() as pilot:
        listed = chat(app).list
        await until(pilot, lambda: len(view(app).transcript.turns) == 2 and listed.options.option_count == 2)
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


async def test_the_search_finds_titles_and_messages(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "Bread", "Rise", "In a cafe\u0301")
    river = converse(client, "River", "One", "Two", at=AT + 100)
    converse(client, "Le Caf\u00e9", "Three", at=AT + 200)
    async with app.run_test() as pilot:
        listed = chat(app).list
        await until(pilot, lambda: listed.options.option_count == 3)
        await pilot.press("ctrl+b", "slash", *"CAFE")
        await until(
            pilot, lambda: "".join(str(option.prompt)[2:] for option in listed.options.options) == "Le CaféBread"
        )
        client.conversations.put_message(river.id, StoredMessage(f"{2:020x}", "user", "a café by the river"))
        chat(app).refresh_list()
        await until(pilot, lambda: listed.options.option_count == 3)
        await pilot.press(*"x")
        await until(pilot, lambda: str(listed.none.content) == "No conversation contains this.")
        await pilot.press("escape")
        await until(pilot, lambda: listed.options.option_count == 3)


async def test_titles_are_cut_between_characters(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "ab" + "🇩🇪" * 30, "One")
    converse(client, "日本語" * 20, "One", at=AT + 100)
    client.journal.new_entry("🇩🇪" * 30)
    async with app.run_test(size=(120, 36)) as pilot:
        listed = chat(app).list.options
        await until(pilot, lambda: listed.option_count == 2)
        await pilot.press("f3")
        assert isinstance(app.screen, JournalScreen)
        entries = app.screen.entry_list.options
        await until(pilot, lambda: entries.option_count == 2)
        for options, flags, shown in ((listed, 10, 25), (entries, 18, 37)):
            assert not options.max_scroll_x
            title = next(str(each.prompt) for each in options.options if "🇩🇪" in str(each.prompt))
            assert title.endswith("🇩🇪" * flags + "…")
            assert cell_len(title) == shown + 2


async def test_what_the_model_did_not_get_as_written_is_said_in_one_line(
    app: CharlieApp, client: Client, until: Until
) -> None:
    river = converse(client, "River", "One")
    template = "The model's chat template could not be used."
    stats = {**STATS, "left_out": 12, "truncated": True, "note": template}
    client.conversations.put_message(river.id, StoredMessage(f"{1:020x}", "assistant", "Two", AT + 1, stats=stats))
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.replies) == 1)
        (reply,) = view(app).transcript.replies
        turns = "12 earlier turns are outside the context"
        cut = "the message was longer than the context: only its end was read"
        await until(pilot, lambda: str(reply.left_out.content) == f"{turns} · {cut} · {template}")
        assert foot(reply) == "48 tokens · 41 tok/s · first 38 ms · 212 reused"


@pytest.mark.slow
async def test_editing_an_earlier_turn_branches_the_conversation(app: CharlieApp, client: Client, until: Until) -> None:
    old = converse(client, "River", "One", "Two", "Three", "Four")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 4)
        view(app).transcript.turns[-1].focus()
        await pilot.press("up", "e")
        await until(pilot, lambda: view(app).prompt.text == "Three")
        assert [turn.text for turn in view(app).transcript.turns] == ["One", "Two"]
        assert [each.id for each in client.conversations.conversations()] == [old.id]
        await pilot.press("escape")
        await until(pilot, lambda: len(view(app).transcript.turns) == 4)
        assert view(app).prompt.text == ""
        for typed in (" now", ""):  # left once, and found again
            view(app).transcript.turns[-1].focus()
            await pilot.press("up", "e")
            await until(pilot, lambda: len(view(app).transcript.turns) == 2 and view(app).prompt.has_focus)
            await until(pilot, lambda: view(app).prompt.text.startswith("Three"))
            await pilot.press(*typed)
            assert view(app).prompt.text == "Three now"
            if typed:
                await pilot.press("escape")
                await until(pilot, lambda: len(view(app).transcript.turns) == 4)
                assert view(app).prompt.text == ""
        await pilot.press("enter")
        await until(pilot, lambda: len(client.conversations.conversations()) == 2)
        new = next(each for each in client.conversations.conversations() if each.id != old.id)
        assert new.title == "Three now"
        await until(pilot, lambda: len(client.conversations.messages(new.id)) == 3)
        assert [message.text for message in client.conversations.messages(new.id)] == ["One", "Two", "Three now"]
        assert len(client.conversations.messages(old.id)) == 4


async def test_a_conversation_is_deleted_only_after_confirmation(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "River", "One", "Two")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        chat(app).list.options.focus()
        await until(pilot, lambda: chat(app).list.highlighted is not None)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))
        assert len(client.conversations.conversations()) == 1
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: not client.conversations.conversations())
        await until(pilot, lambda: not view(app).transcript.turns)


async def test_a_conversation_is_renamed_searched_and_exported(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "Bread", "Rise", "Well")
    converse(client, "River", "One", "Two", at=AT + 100)
    async with app.run_test(size=(120, 36)) as pilot:
        options = chat(app).list.options
        await until(pilot, lambda: len(view(app).transcript.turns) == 2 and options.option_count == 2)
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
        await until(pilot, lambda: view(app).notice.has_class("-shown"))


async def test_ctrl_y_copies_the_reply(app: CharlieApp, client: Client, until: Until) -> None:
    converse(client, "River", "One", "Two **2**")
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        await pilot.press("ctrl+y")
        assert app.clipboard == "Two **2**"


async def test_the_real_worker_answers(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client) as runtime:
        app = CharlieApp(client, runtime.tick)
        async with app.run_test() as pilot:
            reply = await send(pilot, until, "Hello, Charlie")
            await until(pilot, lambda: not view(app).live)
            assert reply.text
            assert " tokens · " in foot(reply)
            conversation = view(app).conversation
            assert conversation is not None
            assert [m.role for m in client.conversations.messages(conversation.id)] == ["user", "assistant"]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_an_empty_chat(
    app: CharlieApp, size: tuple[int, int], until: Until, snap_compare: SnapCompare
) -> None:
    async def settle(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "F4 offers" in str(view(app).transcript.first_run.invitation.visual))
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_a_conversation(
    app: CharlieApp, client: Client, until: Until, size: tuple[int, int], snap_compare: SnapCompare
) -> None:
    converse(client, "Exam week", "Tired.", at=AT - 9000)
    river = converse(client, "The river walk", "I went for a *long* walk.", "That sounds **peaceful**.\n\n- a\n- b")
    stats = {**STATS, "left_out": 12, "bundled": True}
    client.conversations.put_message(river.id, StoredMessage(f"{2:020x}", "user", "And then?", AT + 60))
    stopped = StoredMessage(f"{3:020x}", "assistant", "Then you", AT + 61, MessageState.CANCELLED, stats)
    client.conversations.put_message(river.id, stopped)

    async def settle(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(view(app).transcript.turns) == 4)
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_prefill(
    app: CharlieApp, client: Client, until: Until, size: tuple[int, int], snap_compare: SnapCompare
) -> None:
    river = converse(client, "The river walk", "I went for a long walk.", "That sounds peaceful.")
    client.conversations.put_message(river.id, StoredMessage(f"{2:020x}", "user", "And then?", AT + 60))
    job = client.submit(JobKind.CHAT, {"conversation": river.id, "sampling": {}}, river.id)
    take(client, job.id)

    async def settle(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(view(app).live) == 1)

        def in_prefill() -> bool:
            # Progress events are not kept, so they are published until the app has subscribed.
            client.bus.publish(JobProgress(job.id, "prefill", 1204, 2048))
            return line(view(app).live[0]).startswith("reading 1,204")

        await until(pilot, in_prefill)
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


def test_picture_of_the_list_over_the_content(
    app: CharlieApp, client: Client, until: Until, snap_compare: SnapCompare
) -> None:
    converse(client, "Exam week", "Tired.", at=AT - 9000)
    converse(client, "The river walk", "I went for a long walk.", "That sounds peaceful.")

    async def settle(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        await pilot.press("ctrl+b")
        options = chat(app).list.options
        await until(pilot, lambda: options.option_count == 2 and options.has_focus)
        await still(pilot)

    assert snap_compare(app, terminal_size=(80, 24), run_before=settle)


@pytest.mark.parametrize("keys", [["ctrl+b"], ["ctrl+b", "slash"]], ids=["list", "search"])
async def test_a_list_hidden_by_a_smaller_window_gives_the_keys_to_the_prompt(
    app: CharlieApp, client: Client, until: Until, keys: list[str]
) -> None:
    converse(client, "River", "One", "Two")
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(view(app).transcript.turns) == 2)
        chat(app).list.begin()
        await pilot.press(*keys[1:])
        await until(pilot, lambda: app.focused is not view(app).prompt)
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: not chat(app).list.display or chat(app).has_class("-narrow"))
        await pilot.press("n", "o")
        assert view(app).prompt.text == "no"
        assert chat(app).list.field.value == ""
