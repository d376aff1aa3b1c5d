"""Journal over a real database; the test plays the worker where a phase has to last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.content import Content
from textual.pilot import Pilot

from app.client import Client
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from app.tui.bridge import Happened
from app.tui.journal import entry_editor
from app.tui.journal.screen import JournalScreen
from app.tui.shared.dialogs import ConfirmDialog
from app.tui.shared.job_line import JobLine
from core.errors import CharlieError
from core.events.types import JobChanged, JobKind, JobProgress, JobState
from core.library.records import Entry, EntryState
from core.paths import find_paths
from core.settings_file import load_settings
from tasks.jobs.records import Ended, Hit, Hits, Text, citations
from tests.app.conftest import Until
from tests.app.tui.stillness import still
from tests.parked import park
from tests.tiny_models import configure_reranker

AT = 1767600000.0  # 2026-01-05 08:00 UTC
SIZES = [(80, 24), (120, 36)]
SnapCompare = Callable[..., bool]


async def journal(pilot: Pilot[None], until: Until) -> JournalScreen:
    """Go to the journal and wait until it has read the entries."""
    assert isinstance(pilot.app, CharlieApp)
    entries = len(pilot.app.client.journal.entries())
    await pilot.press("f3")
    await until(pilot, lambda: isinstance(pilot.app.screen, JournalScreen) and pilot.app.screen.editor.is_mounted)
    screen = pilot.app.screen
    assert isinstance(screen, JournalScreen)
    await until(pilot, lambda: len(screen.entry_list.entries) == entries and screen.editor.area.has_focus)
    return screen


def keep(client: Client, text: str, at: float = AT, state: EntryState = EntryState.INDEXED, error: str = "") -> Entry:
    """An entry as if it had been written at that time."""
    made = client.journal.new_entry(text)
    entry = replace(made, created=at, updated=at, state=state, error=error, ingested=state is EntryState.INDEXED)
    client.journal._put_entry(entry, client.redis)
    return entry


def titles(screen: JournalScreen) -> list[str]:
    return [str(option.prompt).replace("\xa0", " ") for option in screen.entry_list.options.options if option.id]


def jobs(client: Client, kind: JobKind) -> list[str]:
    return [queued.job.id for queued in client.queue() if queued.job.kind is kind]


def hit(entry: Entry, similarity: float, relevance: float | None = None) -> Hit:
    return Hit(entry.id, entry.title, entry.text, similarity, relevance)


async def seek(pilot: Pilot[None], until: Until, screen: JournalScreen, text: str) -> str:
    """Type into the field, press Enter, and return the id of the job."""
    screen.field.focus()
    screen.field.value = text
    await pilot.press("enter")
    await until(pilot, lambda: screen.finder.following is not None)
    assert screen.finder.following is not None
    return screen.finder.following.job_id


@pytest.mark.slow
async def test_typed_text_is_saved_and_indexed_once(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        await pilot.press(*"Bread rose.")
        assert "not saved yet" in str(screen.editor.head.content)
        await until(pilot, lambda: [entry.text for entry in client.journal.entries()] == ["Bread rose."])
        await until(pilot, lambda: "· saved" in str(screen.editor.head.content))
        await until(pilot, lambda: len(jobs(client, JobKind.INGEST)) == 1)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: screen.editor.entry_id is None)
        assert len(jobs(client, JobKind.INGEST)) == 1


async def test_leaving_the_entry_saves_it_at_once(
    app: CharlieApp, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in ("SAVE_SECONDS", "INGEST_SECONDS"):
        monkeypatch.setattr(entry_editor, seconds, 60)
    entry = keep(client, "River")
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        await pilot.press(*"New")
        screen.entry_list.options.focus()
        await until(pilot, lambda: "● River" in titles(screen))
        await pilot.press("end", "enter")
        await until(pilot, lambda: screen.editor.entry_id == entry.id)
        assert {each.text for each in client.journal.entries()} == {"River", "New"}
        await pilot.press("end", *"side")
    assert client.journal.entry(entry.id).text == "Riverside"
    assert len(jobs(client, JobKind.INGEST)) == 2


async def test_typed_text_survives_a_deletion_elsewhere(app: CharlieApp, client: Client, until: Until) -> None:
    entry = keep(client, "River")
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        screen.open_entry(entry.id)
        await until(pilot, lambda: screen.editor.area.text == "River")
        client.journal.delete_entry(entry.id)
        await pilot.press("end", *"side")
        await until(pilot, lambda: [each.text for each in client.journal.entries()] == ["Riverside"])


@pytest.mark.slow
async def test_an_entry_is_not_shown_as_saved_while_the_database_is_lost(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            screen = await journal(pilot, until)
            assert runtime._server is not None
            runtime._server.process.kill()
            await pilot.press(*"Precious")
            await until(pilot, lambda: str(screen.editor.notice.content).startswith("The database does not answer"))
            assert "not saved yet" in str(screen.editor.head.content)
            assert screen.editor.area.text == "Precious"
            runtime.tick()
            await until(pilot, lambda: "· saved" in str(screen.editor.head.content))
        assert [entry.text for entry in client.journal.entries()] == ["Precious"]


async def test_a_late_read_does_not_restore_an_older_state(
    app: CharlieApp, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = keep(client, "Snow", state=EntryState.INDEXING)
    read, first, second = client.journal.entries_of, threading.Event(), threading.Event()

    def late(ids: Sequence[str]) -> list[Entry]:
        entries = read(ids)
        if first.is_set():
            second.set()
            return entries
        first.set()
        second.wait(0.5)  # until another reading overtakes this one, if any does
        return entries

    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        monkeypatch.setattr(client.journal, "entries_of", late)
        event = JobChanged("job", JobKind.INGEST, JobState.RUNNING, subject=entry.id)
        screen.post_message(Happened(event))
        await until(pilot, first.is_set)
        client.journal.mark_entries({entry.id: 1}, EntryState.INDEXED)
        screen.post_message(Happened(replace(event, state=JobState.DONE)))
        await until(pilot, second.is_set)
        await until(pilot, lambda: not [each for each in screen.workers if each.node is screen.entry_list])
        assert titles(screen) == ["● Snow"]


async def test_the_state_of_an_entry_follows_its_ingestion(app: CharlieApp, client: Client, until: Until) -> None:
    entry = keep(client, "River", state=EntryState.SAVED)
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        assert titles(screen) == ["· River"]
        screen.open_entry(entry.id)
        await until(pilot, lambda: screen.editor.entry_id == entry.id)
        job = client.ingest(entry)
        client.journal.mark_entries({entry.id: 1}, EntryState.INDEXING)
        client.jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED})
        await until(pilot, lambda: titles(screen) == ["◐ River"])
        client.journal.mark_entries({entry.id: 1}, EntryState.FAILED, "It needs 1.3 GB.")
        client.jobs.end(job.id, Ended(JobState.FAILED, None, "It needs 1.3 GB."))
        await until(pilot, lambda: titles(screen) == ["! River\n  It needs 1.3 GB."])
        assert str(screen.editor.notice.content).startswith("It needs 1.3 GB. ")
        waiting = len(jobs(client, JobKind.INGEST))
        screen.entry_list.options.focus()
        await pilot.press("end", "r")
        await until(pilot, lambda: len(jobs(client, JobKind.INGEST)) == waiting + 1)
        client.journal.mark_entries({entry.id: 1}, EntryState.INDEXED)
        again = jobs(client, JobKind.INGEST)[-1]
        client.jobs.advance(again, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.end(again, Ended(JobState.DONE))
        await until(pilot, lambda: titles(screen) == ["● River"])


async def test_entries_indexed_by_one_job_are_marked(app: CharlieApp, client: Client, until: Until) -> None:
    """As after an import: the list and the open entry follow it."""
    river = keep(client, "River", state=EntryState.SAVED)
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        screen.open_entry(river.id)
        await until(pilot, lambda: screen.editor.entry_id == river.id)
        bread = keep(client, "Bread", AT - 60, state=EntryState.SAVED)
        job = client.ingest_all([river.id, bread.id])
        await until(pilot, lambda: titles(screen) == ["· River", "· Bread"])
        client.journal.mark_entries({river.id: 1, bread.id: 1}, EntryState.INDEXED)
        client.jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.end(job.id, Ended(JobState.DONE))
        await until(pilot, lambda: titles(screen) == ["● River", "● Bread"])
        await until(pilot, lambda: "● indexed" in str(screen.editor.head.content))


async def test_what_is_left_to_index_in_the_background_is_shown(app: CharlieApp, client: Client, until: Until) -> None:
    job = client.ingest_all(["nobody", "nothing"])
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        client.bus.publish(JobProgress("of one entry", "embed", 1, 2))
        client.jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED})
        client.bus.publish(JobProgress(job.id, "embed", 640, 10_000))
        await until(pilot, lambda: screen.notice.display)
        assert str(screen.notice.content) == "Indexing: 9,360 of 10,000 to go."
        client.jobs.end(job.id, Ended(JobState.DONE))
        await until(pilot, lambda: not screen.notice.display)
        screen.notice.fail(CharlieError("The disk is full."))
        client.bus.publish(JobProgress("another", "embed", 1, 2))
        found = await seek(pilot, until, screen, "river")
        client.bus.publish(JobProgress(found, "embed", 3, 4))
        await until(pilot, lambda: "indexing · 3 of 4" in str(screen.query_one(JobLine).content))
        assert "to go" not in str(screen.notice.content)


async def test_typing_filters_without_regard_to_case_and_accents(app: CharlieApp, client: Client, until: Until) -> None:
    keep(client, "A walk\nby the RI\u0301VER")
    keep(client, "Bread", AT - 9000)
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        await pilot.press("ctrl+f", *"rivèr")
        await until(pilot, lambda: titles(screen) == ["● A walk"])
        await pilot.press("escape")
        await until(pilot, lambda: len(titles(screen)) == 2)


async def test_results_appear_by_similarity_then_reranked(app: CharlieApp, client: Client, until: Until) -> None:
    river, exam = keep(client, "A walk by the river"), keep(client, "Exam week", AT - 9000)
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        job = await seek(pilot, until, screen, "calm")
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.write(job, Hits((hit(river, 0.7), hit(exam, 0.4)), reranked=False))
        await until(pilot, lambda: [o.id for o in screen.finder.results.options.options] == [river.id, exam.id])
        client.jobs.write(job, Hits((hit(exam, 0.4, 0.9), hit(river, 0.7, 0.1)), reranked=True))
        client.jobs.end(job, Ended(JobState.DONE, {}))
        await until(pilot, lambda: screen.finder.following is None)
        assert [o.id for o in screen.finder.results.options.options] == [exam.id, river.id]
        assert "▇▇▇▇▇▇▇▁ 0.90  Exam week" in str(screen.finder.results.options.options[0].prompt)
        await pilot.press("enter")
        await until(pilot, lambda: screen.editor.entry_id == exam.id and screen.shown == "editor")


@pytest.mark.slow
async def test_an_answer_cites_entries_that_open(app: CharlieApp, client: Client, until: Until) -> None:
    river, exam = keep(client, "A walk by the river"), keep(client, "Exam week", AT - 9000)
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        job = await seek(pilot, until, screen, "? when was I calm")
        assert client.jobs.get(job).kind is JobKind.ASK
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.write(job, Text("By the river [1]"))
        await until(pilot, lambda: screen.finder.answer.markdown.source == "By the river [1]")
        citations = [
            {"number": 1, "entry": river.id, "title": river.title},
            {"number": 2, "entry": exam.id, "title": "E"},
        ]
        client.jobs.end(job, Ended(JobState.DONE, {"text": "By the river [1] [7].", "citations": citations}))
        await until(pilot, lambda: screen.finder.following is None)
        assert screen.finder.answer.markdown.source == "By the river [1] [7]."
        place = screen.finder.answer.query_one("MarkdownParagraph").region
        await pilot.click(offset=(place.x + len("By the river [7] ["), place.y))  # no link
        await pilot.click(offset=(place.x + len("By the river ["), place.y))
        await until(pilot, lambda: screen.editor.entry_id == river.id and screen.shown == "editor")
        await pilot.press("escape", "2")
        await until(pilot, lambda: screen.editor.entry_id == exam.id and screen.shown == "editor")


async def test_escape_stops_a_search_then_leads_back(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        job = await seek(pilot, until, screen, "calm")
        await pilot.press("escape")
        await until(pilot, lambda: screen.finder.following is None)
        assert client.jobs.get(job).state is JobState.CANCELLED
        assert str(screen.finder.results.foot.content) == "Stopped."
        await pilot.press("escape")
        assert screen.shown == "editor"
        assert screen.field.has_focus
        assert screen.field.value == "calm"


async def test_a_failed_search_says_why_and_keeps_the_query(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        job = await seek(pilot, until, screen, "calm")
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.end(job, Ended(JobState.FAILED, None, "It needs 1.3 GB.", "Close something."))
        await until(pilot, lambda: screen.finder.following is None)
        assert str(screen.finder.results.foot.content).startswith("It needs 1.3 GB. Close something. ")
        assert screen.field.value == "calm"


async def test_an_entry_is_deleted_only_when_asked_twice(app: CharlieApp, client: Client, until: Until) -> None:
    keep(client, "River")
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        screen.entry_list.options.focus()
        for keys, left in ((("escape",), 1), (("tab", "enter"), 0)):
            await pilot.press("end", "d")
            await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
            await pilot.press(*keys)
            await until(pilot, lambda: app.screen is screen)
            await until(pilot, lambda left=left: len(client.journal.entries()) == left)  # type: ignore[misc]


@pytest.mark.slow
async def test_a_paste_of_a_megabyte_on_one_line_is_kept(app: CharlieApp, client: Client, until: Until) -> None:
    text = "word " * 200_000 + "\x1b[31m\u2028end"
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        screen.editor.area.post_message(events.Paste(text))
        await until(pilot, lambda: len(client.journal.entries()) == 1)
        assert client.journal.entries()[0].text == text


@pytest.mark.slow
async def test_the_real_worker_indexes_searches_and_answers(home: Path, until: Until) -> None:
    configure_reranker(find_paths())
    client = Client(load_settings(), find_paths())
    with Runtime(client) as runtime:
        entry = client.journal.new_entry("I baked bread and it rose well.")
        client.ingest(entry)
        app = CharlieApp(client, runtime.tick)
        async with app.run_test() as pilot:
            screen = await journal(pilot, until)
            await until(pilot, lambda: titles(screen) == ["● I baked bread and it ros…"])
            await pilot.press("ctrl+f", *"bread", "enter")
            await until(pilot, lambda: "reranked" in str(screen.finder.results.heading.content))
            assert [option.id for option in screen.finder.results.options.options] == [entry.id]
            await until(pilot, lambda: screen.finder.following is None)
            screen.field.value = "? what did I bake"
            await pilot.press("ctrl+f", "enter")
            await until(pilot, lambda: " tokens" in str(screen.finder.answer.foot.content))
            assert screen.finder.answer.text


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_an_empty_journal(
    app: CharlieApp, until: Until, size: tuple[int, int], snap_compare: SnapCompare
) -> None:
    async def settle(pilot: Pilot[None]) -> None:
        await journal(pilot, until)
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


def some(client: Client) -> list[Entry]:
    return [
        keep(client, "A long walk by the river, and I felt calm.\n\nThe water was high."),
        keep(client, "Exam week: tired, but the algebra went well.", AT - 40_000, EntryState.INDEXING),
        keep(client, "Bread", AT - 50_000, EntryState.FAILED, "The embedding model needs 1.3 GB; 0.9 GB are free."),
        keep(client, "Snow", AT - 90_000, EntryState.SAVED),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_an_entry(
    app: CharlieApp, client: Client, until: Until, size: tuple[int, int], snap_compare: SnapCompare
) -> None:
    river = some(client)[0]

    async def settle(pilot: Pilot[None]) -> None:
        screen = await journal(pilot, until)
        screen.open_entry(river.id)
        await until(pilot, lambda: screen.editor.entry_id == river.id and not screen.actions.changing.locked())
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_results(
    app: CharlieApp, client: Client, until: Until, size: tuple[int, int], snap_compare: SnapCompare
) -> None:
    river, exam, *_ = some(client)

    async def settle(pilot: Pilot[None]) -> None:
        screen = await journal(pilot, until)
        job = await seek(pilot, until, screen, "calm")
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.write(job, Hits((hit(river, 0.7, 0.93), hit(exam, 0.4, 0.12)), reranked=True))
        client.jobs.end(job, Ended(JobState.DONE, {}))
        await until(pilot, lambda: screen.finder.following is None)
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


def passages(*entries: Entry) -> Hits:
    """Hits whose last sentence is the one that matched."""
    found = (hit(entry, 0.7) for entry in entries)
    return Hits(
        tuple(replace(each, mark=(each.chunk.rindex(". ", 0, -1) + 2, len(each.chunk))) for each in found), False
    )


async def test_passages_are_shown_before_the_answer_and_then_what_it_cites(
    app: CharlieApp, client: Client, until: Until
) -> None:
    river = keep(client, "A [b]walk[/b]. By the river it was calm.")
    exam = keep(client, "Exam week. The algebra went well, so I was calm.", AT - 9000)
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        job = await seek(pilot, until, screen, "? when was I calm")
        answer = screen.finder.answer
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.write(job, passages(exam, river))
        await until(pilot, lambda: answer.options.option_count == 2)
        labels = [str(option.prompt) for option in answer.options.options]
        number = {river.id: 1, exam.id: 2} if river.id < exam.id else {river.id: 2, exam.id: 1}
        assert labels == [
            f"[{number[exam.id]}] Exam week. The algebra went… · The algebra went well, so I was calm.",
            f"[{number[river.id]}] A [b]walk[/b] · By the river it was calm.",
        ]
        await pilot.press(str(number[river.id]))
        await until(pilot, lambda: screen.editor.entry_id == river.id)
        client.jobs.end(job, Ended(JobState.FAILED, None, "The model failed.", "Try again."))
        await until(pilot, lambda: screen.finder.following is None)
        assert answer.options.option_count == 2
        assert str(answer.foot.content).startswith("The model failed.")


@pytest.mark.slow
@pytest.mark.parametrize("near", [True, False], ids=["near", "nothing near"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_picture_of_an_answer(
    app: CharlieApp, client: Client, until: Until, size: tuple[int, int], snap_compare: SnapCompare, near: bool
) -> None:
    texts = (
        "A long walk by the river with Mira. The water was high, and I felt calm.",
        "Exam week: tired. The algebra went well, and I was calm all morning, which has not happened for a month.",
        "Mum called about the operation. She is calm, calmer than I am.",
        "Bread. Left the dough overnight, and it rose at last.",
        "The garden is done. Sat on the step with tea, and all was quiet.",
    )
    entries = [keep(client, text, AT - number * 9000) for number, text in enumerate(texts)]
    hits = passages(*entries)
    cited = citations(hits.hits, {1, 2} if near else ())
    result: dict[str, Any] = {"text": "Not in your entries.", "citations": cited, "nothing_near": not near}
    if near:
        result |= {
            "text": "You were calm **by the river** [1], and in the week of the exam [2]. Your mother was, too [3–9].",
            "bundled": True, "completion_tokens": 12, "tokens_per_second": 41.0, "ttft_ms": 38.0,
        }  # fmt: skip

    async def settle(pilot: Pilot[None]) -> None:
        screen = await journal(pilot, until)
        job = await seek(pilot, until, screen, "? when was I calm")
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.write(job, hits)
        client.jobs.end(job, Ended(JobState.DONE, result))
        await until(pilot, lambda: screen.finder.following is None)
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=settle)


def burst(app: CharlieApp, *keys: str) -> None:
    """Send all keys at once, as a terminal does that was read late."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


async def test_typing_after_enter_stays_in_the_search_field(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        await pilot.press("ctrl+f", *"river")
        burst(app, "enter", "s")
        await until(pilot, lambda: screen.finder.following is not None)
        assert screen.field.has_focus
        assert screen.field.value == "rivers"


async def test_a_slow_list_read_keeps_a_new_entry(
    app: CharlieApp, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        read, saved, shown = client.journal.read_entries, threading.Event(), list[int]()

        def slow(start: int, count: int, text: str, stop: Callable[[], bool]) -> tuple[list[Entry], int | None]:
            found = read(start, count, text, stop)
            assert saved.wait(10)
            return found

        show = screen.entry_list.show

        def seen(found: list[Entry], *, more: bool) -> None:
            show(found, more=more)
            shown.append(len(found))

        monkeypatch.setattr(client.journal, "read_entries", slow)
        monkeypatch.setattr(screen.entry_list, "show", seen)
        screen.pages.reload()
        try:
            await pilot.press(*"Rain")
            await until(pilot, lambda: len(screen.entry_list.entries) == 1)
        finally:
            saved.set()
        await until(pilot, lambda: bool(shown))
        assert shown == [1]
        await until(pilot, lambda: [entry.text for entry in screen.entry_list.entries] == ["Rain"])


async def test_typing_right_after_ctrl_n_goes_to_the_new_entry(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        burst(app, *"Rain", "ctrl+n", *"Snow", "ctrl+n", *"Sun")
        await until(pilot, lambda: {each.text for each in client.journal.entries()} == {"Rain", "Snow", "Sun"})
        assert screen.editor.area.text == "Sun"
        await until(pilot, lambda: len(jobs(client, JobKind.INGEST)) >= 2)
        screen.entry_list.options.focus()
        burst(app, "n", *"d and r")
        await until(pilot, lambda: screen.editor.area.text == "d and r")


async def test_typing_right_after_ctrl_f_goes_to_the_search_field(
    app: CharlieApp, client: Client, until: Until
) -> None:
    keep(client, "River")
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        for start in (screen.editor.area, screen.entry_list.options):
            start.focus()
            screen.field.clear()
            burst(app, "ctrl+f", *"nd")
            await until(pilot, lambda: screen.field.value == "nd")
            assert screen.editor.area.text == ""
        assert app.screen is screen


@pytest.mark.slow
async def test_an_unsaved_entry_reopens_over_a_new_one(home: Path, until: Until) -> None:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as runtime:
        app = CharlieApp(client)
        async with app.run_test() as pilot:
            screen = await journal(pilot, until)
            assert runtime._server is not None
            runtime._server.process.kill()
            await pilot.press(*"Rain", "ctrl+n")
            await until(pilot, lambda: screen.editor.area.text == "Rain")
            assert str(screen.editor.notice.content).startswith("The database does not answer")
            await pilot.press("ctrl+n", *"Snow")
            runtime.tick()
            await until(pilot, lambda: "· saved" in str(screen.editor.head.content))
            assert screen.editor.area.text == "Snow"
        assert {entry.text for entry in client.journal.entries()} == {"Rain", "Snow"}


@pytest.mark.slow
async def test_an_empty_journal_can_be_resized(app: CharlieApp, client: Client, until: Until) -> None:
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await journal(pilot, until)
        await pilot.press("f2")
        await pilot.resize_terminal(50, 14)
        await pilot.press("f4", "f3")
        await until(pilot, lambda: app.screen is screen and screen.editor.area.size.width >= 40)
        assert not screen.entry_list.display
        await pilot.press("ctrl+b")
        await until(pilot, lambda: screen.entry_list.display and screen.entry_list.options.has_focus)
        assert screen.editor.area.size.width >= 40
        await pilot.press("ctrl+b")
        await until(pilot, lambda: not screen.entry_list.display and screen.editor.area.has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: screen.entry_list.options.has_focus)
        await pilot.press("escape", "h")
        await until(pilot, lambda: screen.editor.area.text == "h")
        for width in (3, 1, 80):
            await pilot.press("backspace")
            await pilot.resize_terminal(width, 14)
            await pilot.pause()


async def test_a_list_hidden_by_a_smaller_window_gives_the_keys_to_the_editor(
    app: CharlieApp, client: Client, until: Until
) -> None:
    client.journal.new_entry("River")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await journal(pilot, until)
        screen.entry_list.options.focus()
        await until(pilot, lambda: screen.entry_list.options.has_focus)
        await pilot.resize_terminal(50, 14)
        await until(pilot, lambda: not screen.entry_list.display)
        await pilot.press("d", "o")
        assert screen.editor.area.text == "do"


@pytest.mark.slow
async def test_escape_returns_from_an_entry_to_the_results(app: CharlieApp, client: Client, until: Until) -> None:
    river = keep(client, "A walk by the river")
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        job = await seek(pilot, until, screen, "calm")
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.write(job, Hits((hit(river, 0.7, 0.9),), reranked=True))
        client.jobs.end(job, Ended(JobState.DONE, {}))
        await until(pilot, lambda: screen.finder.following is None)
        for _ in range(2):
            await pilot.press("enter")
            await until(pilot, lambda: screen.shown == "editor" and screen.editor.area.has_focus)
            await pilot.press("escape")
            await until(pilot, lambda: screen.shown == "results" and screen.finder.results.options.has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: screen.shown == "editor" and screen.entry_list.options.has_focus)
        job = await seek(pilot, until, screen, "? when was I calm")
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        citations = [{"number": 1, "entry": river.id, "title": river.title}]
        client.jobs.end(job, Ended(JobState.DONE, {"text": "By the river [1].", "citations": citations}))
        await until(pilot, lambda: screen.finder.following is None)
        await pilot.press("1")
        await until(pilot, lambda: screen.shown == "editor" and screen.editor.area.has_focus)
        await pilot.press("escape")
        await until(pilot, lambda: screen.shown == "answer" and screen.finder.answer.options.has_focus)
        await pilot.press("ctrl+n", "escape")
        await until(pilot, lambda: screen.shown == "editor" and screen.entry_list.options.has_focus)


async def test_a_parked_entry_is_skipped_and_indexed_again(app: CharlieApp, client: Client, until: Until) -> None:
    entry = keep(client, "Bread", state=EntryState.FAILED, error="Set aside.")
    park(client, entry)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await journal(pilot, until)
        assert titles(screen) == ["! Bread\n  Set aside."]
        screen.entry_list.options.focus()
        await pilot.press("end", "x")
        await until(pilot, lambda: titles(screen) == ["× Bread"])
        assert client.journal.entry(entry.id).state is EntryState.SKIPPED
        assert client.jobs.parked() == []
        await until(pilot, lambda: str(screen.notice.content).startswith("Skipped: saved but not searchable"))
        await pilot.press("x")
        await until(
            pilot, lambda: str(screen.notice.content).startswith("Only entries that failed to index can be skipped")
        )
        await pilot.press("r")
        await until(pilot, lambda: len(jobs(client, JobKind.INGEST)) == 1 and titles(screen) == ["· Bread"])


async def test_deleting_an_entry_removes_its_parked_job(app: CharlieApp, client: Client, until: Until) -> None:
    entry = keep(client, "Bread", state=EntryState.FAILED, error="Set aside.")
    park(client, entry)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await journal(pilot, until)
        screen.entry_list.options.focus()
        await pilot.press("end", "d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: client.journal.entries() == [] and client.jobs.parked() == [])


async def test_the_whole_reason_of_a_failed_entry_is_shown(app: CharlieApp, client: Client, until: Until) -> None:
    why = "The embedding model needs 1.3 GB and 0.9 GB are free now. Close something, or choose a smaller model."
    entry = keep(client, "Bread", state=EntryState.FAILED, error=why)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await journal(pilot, until)
        screen.entry_list.options.focus()
        await pilot.press("end", "enter")
        await until(pilot, lambda: screen.editor.entry_id == entry.id and screen.editor.notice.size.height > 1)
        notice = screen.editor.notice
        await until(pilot, lambda: screen.get_widget_at(*notice.region.offset)[0] is notice)
        lines = [strip.text.strip() for strip in notice.render_lines(notice.outer_size.region)]
        assert " ".join(lines) == f"{why} In the list, r indexes it again, x skips it."
        screen.entry_list.options.focus()
        await pilot.press("r")
        await until(pilot, lambda: len(jobs(client, JobKind.INGEST)) == 1)
        assert client.journal.entry(entry.id).state is EntryState.SAVED
        await until(pilot, lambda: not notice.display)


async def test_the_sentence_that_matches_is_marked_and_markup_is_text(
    app: CharlieApp, client: Client, until: Until
) -> None:
    text = "It rained. The [bold]dentist[/bold] sang. We left."
    entry = keep(client, text)
    async with app.run_test() as pilot:
        screen = await journal(pilot, until)
        job = await seek(pilot, until, screen, "dentist")
        start = text.index("The")
        found = Hit(entry.id, entry.title, text, 0.6, None, 0, (start, text.index(" We")))
        client.jobs.advance(job, JobState.RUNNING, {JobState.QUEUED})
        client.jobs.write(job, Hits((found,), reranked=False))
        client.jobs.end(job, Ended(JobState.DONE, {"nothing_near": True}))
        await until(pilot, lambda: screen.finder.following is None)
        label = screen.finder.results.options.options[0].prompt
        assert isinstance(label, Content)
        (marked,) = [span for span in label.spans if span.style == "$text-accent"]
        assert label.plain[marked.start : marked.end] == "The [bold]dentist[/bold] sang."
        assert "Not in your entries" in str(screen.finder.results.foot.content)
