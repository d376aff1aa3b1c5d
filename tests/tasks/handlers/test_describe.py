"""Titles of entries: when the worker names them, when it waits, and entries that it cannot describe."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from app.client import Client
from core.events.types import JobKind
from core.library.journal import KEPT_UNDESCRIBED
from core.library.records import Entry, EntryState, Restored
from core.programs.in_use import reset, use
from core.programs.signatures import TITLE_CHARACTERS
from core.roles import Role
from tasks.handlers import programs
from tasks.handlers.context import TaskContext
from tasks.handlers.describe import ENTRIES_PER_JOB, describe_entries
from tasks.handlers.programs import prepare
from tasks.worker import idle_work
from tasks.worker.runner import Runner
from tests.compiled import write_compiled
from tests.model_files import Size, write_random
from tests.states.walks import changes, steps
from tests.tasks.conftest import context_here
from tests.waiting import ended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.jobs.records import Ended

TEXT = "I walked by the river with Mira, and it was cold."


def described(client: Client, entry: Entry) -> Entry:
    now = client.journal.entry(entry.id)
    assert 1 <= len(now.suggested_title) <= TITLE_CHARACTERS
    return now


# In this process, where the test decides what runs next.


@pytest.fixture
def work(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """A runner in this process, which runs a job when the test says so, and needs no rest."""
    monkeypatch.setattr(idle_work, "REST_SECONDS", 0.0)
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "exclusive")
    monkeypatch.setattr(programs, "LEAST_PARAMETERS", 0)
    made = Runner(context_here(client))
    yield made
    made._context.manager.unload_all("the test is over")


def context_of(work: Runner) -> TaskContext:
    return work._context


def describe_when_idle(work: Runner) -> None:
    work.idle_work.queue_next(work.busy)


def queued(client: Client) -> list[JobKind]:
    return [each.job.kind for each in client.queue()]


def do_all(client: Client, work: Runner) -> list[JobKind]:
    """Run the waiting jobs in order; returns their kinds."""
    did = []
    while (task := work.queue.dequeue()) is not None:
        work.queue.execute(task)
        did.append(client.jobs.get(task.id).kind)
    return did


def read_in(client: Client, work: Runner, *texts: str) -> list[Entry]:
    entries = [client.journal.new_entry(text) for text in texts]
    client.ingest_all([entry.id for entry in entries])
    assert do_all(client, work) == [JobKind.INGEST]
    client.redis.delete("charlie:unread")
    return entries


def test_a_small_model_names_no_title(client: Client, work: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(idle_work, "REST_SECONDS", 0.0)
    (entry,) = read_in(client, work, TEXT)
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    describe_when_idle(work)
    assert queued(client) == []
    assert client.journal.entry(entry.id).title == "I walked by the river with Mira, and it was cold"


def test_describing_never_swaps_models(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    describe_when_idle(work)
    assert queued(client) == []
    client.submit(JobKind.DESCRIBE, {})  # as if the embedding model had been loaded in between
    do_all(client, work)
    assert steps(changes(client.bus)) == ["load embedding", "loaded embedding"]
    assert client.journal.entry(entry.id).suggested_title == ""
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    describe_when_idle(work)
    describe_when_idle(work)
    assert do_all(client, work) == [JobKind.DESCRIBE]
    described(client, entry)
    describe_when_idle(work)
    assert queued(client) == []


def test_where_both_fit_it_describes_beside_the_embedding_model(
    client: Client, work: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "fitting")
    with client.paths.config_file.open("a") as file:
        file.write("\n")  # the settings are read again with their file
    (entry,) = read_in(client, work, TEXT)
    describe_when_idle(work)
    assert do_all(client, work) == [JobKind.DESCRIBE]
    described(client, entry)
    assert {each.role for each in client.snapshot().warm} == {"instruct", "embedding"}


def test_describing_loads_nothing_after_an_unload(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    client.unload()
    client.plan(Role.INSTRUCT)
    do_all(client, work)
    assert client.snapshot().phase == "empty"
    describe_when_idle(work)
    assert queued(client) == []
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    describe_when_idle(work)
    assert do_all(client, work) == [JobKind.DESCRIBE]
    described(client, entry)


def test_a_new_worker_loads_nothing_to_describe(client: Client, work: Runner) -> None:
    read_in(client, work, TEXT)
    context_of(work).manager.unload_all("the worker ends")
    later = Runner(context_of(work))
    describe_when_idle(later)
    assert queued(client) == []
    describe_when_idle(work)
    assert queued(client) == [JobKind.DESCRIBE]


def test_describing_does_not_begin_between_an_unload_and_its_end(
    client: Client, work: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_in(client, work, TEXT)
    jobs = context_of(work).jobs
    end = jobs.end

    def end_late(job_id: str, ended: Ended) -> None:
        describe_when_idle(work)
        end(job_id, ended)

    monkeypatch.setattr(jobs, "end", end_late)
    client.unload()
    assert do_all(client, work) == [JobKind.UNLOAD]


def test_describing_tries_an_unloadable_model_once(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    context_of(work).manager.unload_all("idle")
    client.paths.config_file.write_text('[instruct]\nfile = "/nowhere.gguf"\n')
    for _ in range(2):
        describe_when_idle(work)
        assert queued(client) == []
    client.paths.config_file.unlink()
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    describe_when_idle(work)
    do_all(client, work)
    described(client, entry)


def test_entries_are_described_a_few_at_a_time_newest_first(client: Client, work: Runner) -> None:
    entries = read_in(client, work, *(f"{TEXT} {number}" for number in range(ENTRIES_PER_JOB + 1)))
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    describe_when_idle(work)
    do_all(client, work)
    for entry in entries[1:]:
        described(client, entry)
    assert client.journal.entry(entries[0].id).suggested_title == ""
    describe_when_idle(work)
    do_all(client, work)
    described(client, entries[0])


@pytest.mark.parametrize("asked", [0, 1, 5, 40])
def test_a_waiting_job_interrupts_describing(client: Client, work: Runner, asked: int) -> None:
    """At any point: another job is seen at the look number `asked`."""
    (entry,) = read_in(client, work, TEXT)
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    looks = 0

    def waits() -> bool:
        nonlocal looks
        looks += 1
        return looks > asked

    job = client.jobs.new(JobKind.DESCRIBE, {})
    result = describe_entries(context_of(work), job, waits)
    assert client.journal.has_undescribed() == (not result["entries"])
    assert bool(client.journal.entry(entry.id).suggested_title) == bool(result["entries"])
    if asked == 0:
        assert result == {"entries": [], "notes": []}


def test_an_undescribable_entry_is_tried_again_only_after_an_edit(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    use(client.paths, write_compiled(client.paths, "title", "long", instructions="Many words. " * 4000))
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    describe_when_idle(work)
    job = client.queue()[0].job
    do_all(client, work)
    (note,) = (ended(client.jobs, job.id).result or {})["notes"]
    assert note.startswith(f"“{entry.title}” has no title: The prompt with the program's examples is longer")
    assert client.journal.entry(entry.id).suggested_title == ""
    assert not client.journal.has_undescribed()
    reset(client.paths, "title")
    changed = client.journal.write_entry(entry.id, f"{TEXT} And windy.")
    client.ingest(changed)
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    describe_when_idle(work)
    do_all(client, work)
    described(client, entry)


def test_another_title_program_takes_effect_with_the_next_job(client: Client, work: Runner, tmp_path: Path) -> None:
    file = write_random(tmp_path / "words.gguf", 3, Size(words=True))
    client.paths.config_file.write_text(f'[instruct]\nfile = "{file}"\n')
    entries = read_in(client, work, TEXT, TEXT)
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    client.journal.redis.delete("charlie:entries:undescribed")
    titles = []
    for entry in entries:
        client.journal.put_back_undescribed(entry)
        describe_when_idle(work)
        do_all(client, work)
        titles.append(described(client, entry).suggested_title)
        use(client.paths, write_compiled(client.paths, "title", "title-bootstrap"))
    assert titles[0] != titles[1]


def test_a_title_of_a_program_ends_at_a_word(client: Client, work: Runner, tmp_path: Path) -> None:
    """A model that never ends by itself fills the title up to its last character."""
    file = write_random(tmp_path / "words.gguf", 3, Size(words=True))
    client.paths.config_file.write_text(f'[instruct]\nfile = "{file}"\n')
    (entry,) = read_in(client, work, TEXT)
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    job = client.jobs.new(JobKind.DESCRIBE, {})
    context = context_of(work)
    with context.manager.lease(Role.INSTRUCT) as model:
        program = prepare(context, job, model, "title", context.sampling(job, {"temperature": 0}))
        whole: str = program.run(lambda: False, text=TEXT).fields.title
    describe_entries(context, job, lambda: False)
    title = described(client, entry).suggested_title
    assert len(whole) == TITLE_CHARACTERS
    assert whole.startswith(title + " ")
    assert " " not in whole[len(title) :].strip(" ,;:–—-")


def test_a_refused_program_is_reported_with_the_job(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    use(client.paths, write_compiled(client.paths, "title", "title", model="another"))
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    describe_when_idle(work)
    job = client.queue()[0].job
    do_all(client, work)
    (note,) = (ended(client.jobs, job.id).result or {})["notes"]
    assert "was made for the model another" in note
    described(client, entry)


# In the database.


def test_an_edit_clears_mood_and_title(client: Client) -> None:
    entry = client.journal.new_entry(TEXT)
    client.journal.mark_entries({entry.id: 1}, EntryState.INDEXED, felt={entry.id: ("calm", True)})
    client.journal.describe_entry(entry.id, entry.revision, "River")
    now = client.journal.entry(entry.id)
    assert (now.mood, now.distress, now.suggested_title) == ("calm", True, "River")
    changed = client.journal.write_entry(entry.id, "Bread")
    assert (changed.mood, changed.distress, changed.suggested_title) == ("", False, "")
    client.journal.describe_entry(entry.id, entry.revision, "River")
    assert client.journal.entry(entry.id) == changed
    client.journal.describe_entry("nobody", 1, "River")
    assert not client.journal.exist(["nobody"])[0]


def test_entries_of_earlier_versions_have_no_mood(client: Client) -> None:
    entry = client.journal.new_entry(TEXT)
    old = {key: value for key, value in asdict(entry).items() if key not in ("mood", "suggested_title")}
    client.redis.set(f"charlie:entry:{entry.id}", json.dumps(old))
    assert client.journal.entry(entry.id) == entry


def test_only_the_newest_existing_entries_wait_for_a_description(client: Client) -> None:
    entries = [client.journal.new_entry(f"Day {number}") for number in range(KEPT_UNDESCRIBED + 3)]
    client.journal.mark_entries({entry.id: entry.revision for entry in entries}, EntryState.INDEXED)
    client.journal.delete_entry(entries[-1].id)
    taken = []
    while id_ := client.journal.take_undescribed():
        taken.append(id_)
    assert taken == [entry.id for entry in entries[-2:2:-1]]


def test_mood_and_title_are_restored_with_the_entry(client: Client) -> None:
    entry = replace(client.journal.new_entry(TEXT), mood="calm", suggested_title="River")
    client.journal.delete_entry(entry.id)
    assert client.journal.restore_entries([entry]) == [Restored.ADDED]
    assert client.journal.entry(entry.id).mood == "calm"
    client.journal.mark_entries({entry.id: 1}, EntryState.INDEXED)
    assert not client.journal.has_undescribed()
