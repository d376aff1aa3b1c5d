"""The journal with the output of programs: moods and titles, the reflection on the week, and the program in use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from app.tui.journal.screen import JournalScreen
from app.tui.shared.job_line import JobLine
from core.events.types import JobChanged, JobKind, JobProgress, JobState
from core.library.records import EntryState
from core.paths import find_paths
from core.settings_file import load_settings
from tasks.jobs.records import Ended, Text
from tests.app.commands.charlie import charlie, refused
from tests.app.tui.journal.test_journal import AT, SIZES, SnapCompare, jobs, journal, keep, titles
from tests.app.tui.stillness import still
from tests.compiled import write_compiled
from tests.waiting import ended

if TYPE_CHECKING:
    from pathlib import Path

    from textual.pilot import Pilot

    from tests.app.conftest import Until

RESULT = {
    "text": "walks · bread\n\nYou walked and baked.\n\nWith whom will you walk?",
    "completion_tokens": 12,
    "optimizer": "mipro",
    "note": "1 earlier entry of the week did not fit.",
}


def describe(client: Client, id_: str, mood: str, title: str) -> None:
    client.journal.mark_entries({id_: 1}, EntryState.INDEXED, felt={id_: (mood, False)})
    client.journal.describe_entry(id_, 1, title)


async def test_moods_and_titles_appear_in_an_open_journal(app: CharlieApp, client: Client, until: Until) -> None:
    river, bread = keep(client, "River"), keep(client, "Bread rose all day, and I am glad of it", AT - 1)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await journal(pilot, until)
        await until(pilot, lambda: titles(screen) == ["● River", "● Bread rose all day, and…"])
        screen.open_entry(river.id)
        await until(pilot, lambda: screen.editor.entry_id == river.id)
        describe(client, river.id, "calm[b]\x1b[31m", "A walk\x07 [link=x]by the river")
        describe(client, bread.id, "overwhelmed", "Bread")
        job = client.submit(JobKind.DESCRIBE, {})
        client.jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED})
        note = "The program was made for another model."
        result = {"entries": [river.id, bread.id], "notes": [note, note]}
        client.jobs.end(job.id, Ended(JobState.DONE, result))
        await until(pilot, lambda: titles(screen)[0] == "● River calm[b]␛[31m")
        assert titles(screen)[1] == "● Bread rose all day, and…"  # no room for both
        head = str(screen.editor.head.content)
        assert head.endswith("indexed · calm[b]␛[31m · “A walk␇ [link=x]by the river”")
        assert str(screen.notice.content) == note
        await pilot.resize_terminal(120, 36)
        await until(pilot, lambda: titles(screen)[1] == "● Bread rose all day, and… overwhelmed")


@pytest.mark.slow
async def test_the_reflection_key_summarizes_the_week(app: CharlieApp, client: Client, until: Until) -> None:
    river = keep(client, "River")
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.finder.following is not None)
        (job,) = jobs(client, JobKind.REFLECT)
        assert screen.shown == "answer"
        assert str(screen.finder.answer.heading.content) == "The last seven days"
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        client.bus.publish(JobProgress(job, "prefill", 1200))
        await until(pilot, lambda: "reading · 1,200 tokens" in str(screen.query_one(JobLine).content))
        client.jobs.write(job, Text(str(RESULT["text"])))
        citation = {"number": 1, "entry": river.id, "title": river.title, "cited": True}
        client.jobs.end(job, Ended(JobState.DONE, {**RESULT, "citations": [citation]}))
        await until(pilot, lambda: screen.finder.following is None)
        assert screen.finder.answer.markdown.source == RESULT["text"]
        foot = str(screen.finder.answer.foot.content)
        assert foot == "program by mipro · 12 tokens · 1 earlier entry of the week did not fit."
        await pilot.press("1")
        await until(pilot, lambda: screen.editor.entry_id == river.id and screen.shown == "editor")
        await pilot.press("escape")
        assert screen.shown == "answer"


async def test_a_reflection_can_be_stopped_and_a_failure_has_a_hint(
    app: CharlieApp, client: Client, until: Until
) -> None:
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        for ending in ("escape", "failure"):
            await pilot.press("ctrl+r")
            await until(pilot, lambda: screen.finder.following is not None)
            (job,) = jobs(client, JobKind.REFLECT)
            if ending == "escape":
                await pilot.press("escape")
            else:
                client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
                client.jobs.end(job, Ended(JobState.FAILED, None, "There is no entry.", "Write one first."))
            await until(pilot, lambda: screen.finder.following is None)
            said = "stopped" if ending == "escape" else "There is no entry. Write one first. ^R reflects again."
            assert str(screen.finder.answer.foot.content) == said


async def ask(pilot: Pilot[None], until: Until, question: str) -> str:
    """Ask a question and return the answer that the screen shows."""
    await pilot.press("f3")
    await until(pilot, lambda: isinstance(pilot.app.screen, JournalScreen) and pilot.app.screen.editor.is_mounted)
    screen = pilot.app.screen
    assert isinstance(screen, JournalScreen)
    screen.field.focus()
    screen.field.value = f"? {question}"
    before = answered(screen.client)
    await pilot.press("enter")
    await until(pilot, lambda: len(answered(screen.client)) > len(before))
    last = ended(screen.client.jobs, answered(screen.client)[-1])
    assert last.result is not None
    text = str(last.result["text"])
    await until(pilot, lambda: screen.finder.answer.text == text and screen.finder.following is None)
    return text


def answered(client: Client) -> list[str]:
    events = [event for event in client.bus.history() if isinstance(event, JobChanged)]
    return [event.id for event in events if (event.job, event.state) == (JobKind.ASK, "done")]


@pytest.mark.slow
async def test_a_question_is_answered_by_the_program_in_use(home: Path, until: Until) -> None:
    """With one worker throughout; a command beside the app changes the program."""
    client = Client(load_settings(), find_paths())
    with Runtime(client):
        client.journal.new_entry("I walked by the river with Mira.")
        write_compiled(client.paths, "recall", "recall-bootstrap")
        async with CharlieApp(client).run_test() as pilot:
            before = await ask(pilot, until, "Who walked with me?")
            assert charlie(home, "programs", "use", "recall-bootstrap").code == 0
            after = await ask(pilot, until, "Who walked with me?")
            assert charlie(home, "programs", "reset", "recall").code == 0
            assert before != after
            assert await ask(pilot, until, "Who walked with me?") == before


@pytest.mark.slow
def test_the_week_from_the_shell(home: Path) -> None:
    assert refused(charlie(home, "journal", "reflect")) == "There is no entry from the last seven days."
    charlie(home, "journal", "add", "I walked by the river with Mira.")
    said = charlie(home, "journal", "reflect")
    assert said.code == 0
    assert "> I walked by the river with Mira. [1]\n" in said.out  # a small model writes no prose of its own
    assert "[1] I walked by the river with Mira  (" in said.out
    told = charlie(home, "journal", "reflect", "--json").json
    assert said.out.startswith(told["text"])
    assert {"themes", "reflection", "question", "citations", "note", "model"} <= told.keys()


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_picture_of_moods_and_titles(
    app: CharlieApp, client: Client, until: Until, snap_compare: SnapCompare, size: tuple[int, int]
) -> None:
    entries = [
        ("A walk by the river", "calm", "The cold river"),
        ("Could not sleep.", "tired", "A night awake"),
        ("The exam went badly and I do not know what to do next.", "anxious", "The exam that went badly"),
        ("Bread", "", ""),
    ]
    for number, (text, mood, title) in enumerate(entries):
        entry = keep(client, text, AT - number, EntryState.INDEXED)
        client.journal._put_entry(replace(entry, mood=mood, suggested_title=title), client.redis)

    async def before(pilot: Pilot[None]) -> None:
        screen = await journal(pilot, until)
        screen.open_entry(client.journal.entry_ids()[0])
        await until(pilot, lambda: screen.editor.entry_id is not None and not screen.actions.changing.locked())
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)
