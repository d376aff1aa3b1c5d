"""Mood and title of entries: when the worker names them, when it waits, and what becomes of those it cannot name."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from app.client import Client
from app.runtime import Runtime
from core.bus import Bus
from core.compiled import reset, use
from core.events import JobChanged, Snapshot, StateChanged
from core.library import KEPT_UNDESCRIBED, Entry, EntryState, Library, Restored
from core.paths import find_paths
from core.programs import MOODS, TITLE_CHARACTERS
from core.settings import Role, SettingsFile, load_settings
from states.manager import ModelManager
from tasks import runner as runner_module
from tasks.describe import TOGETHER, describe_entries
from tasks.jobs import JobKind
from tasks.runner import Runner
from tasks.tools import Tools
from tests.compiled import write_compiled
from tests.states.walks import changes, steps
from tests.waiting import ended, first, happening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = "I walked by the river with Mira, and it was cold."


def described(client: Client, entry: Entry) -> Entry:
    now = client.library.entry(entry.id)
    assert now.mood in MOODS
    assert 1 <= len(now.suggested_title) <= TITLE_CHARACTERS
    return now


def done(event: object) -> bool:
    return isinstance(event, JobChanged) and event.job == JobKind.DESCRIBE and event.state == "done"


# With the real worker.


def test_what_was_read_in_is_described_once_the_instruct_model_is_warm(home: Path) -> None:
    assert home
    with Runtime(client := Client(load_settings(), find_paths())):
        events = happening(client.bus)
        assert isinstance(next(events), Snapshot)
        entry = client.library.new_entry(TEXT)
        ended(client.jobs, client.ingest(entry).id)
        ended(client.jobs, client.warm(Role.INSTRUCT).id)
        event = first(events, done)
        assert isinstance(event, JobChanged)
        described(client, entry)
        result = ended(client.jobs, event.id).result
        assert result == {"entries": [entry.id], "notes": []}
        assert not client.library.has_undescribed()
        assert steps(changes(client.bus)) == [
            "load embedding", "loaded embedding", "unload embedding", "unloaded embedding",
            "load instruct", "loaded instruct",
        ]  # fmt: skip


def test_after_the_eviction_of_another_model_and_then_evicted_itself(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home
    monkeypatch.setenv("CHARLIE_KEEP_ALIVE", "0.5")
    with Runtime(client := Client(load_settings(), find_paths())):
        events = happening(client.bus)
        assert isinstance(next(events), Snapshot)
        entry = client.library.new_entry(TEXT)
        ended(client.jobs, client.ingest(entry).id)
        first(events, done)
        described(client, entry)
        first(events, lambda event: isinstance(event, StateChanged) and event.trigger == "unloaded")
        assert steps(changes(client.bus)) == [
            f"{trigger} {role}"
            for role in ("embedding", "instruct")
            for trigger in ("load", "loaded", "unload", "unloaded")
        ]


# In this process, where what the worker does next is up to the test.


@pytest.fixture
def work(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """A worker that does a job when it is told to, and needs no rest."""
    monkeypatch.setattr(runner_module, "REST_SECONDS", 0.0)
    bus = Bus(client.redis)
    manager = ModelManager(SettingsFile(), client.paths, bus)
    made = Runner(Tools(manager, bus, client.jobs, Library(client.redis), client._raw))
    yield made
    manager.unload_model("the test is over")


def tools_of(work: Runner) -> Tools:
    return work._tools


def queued(client: Client) -> list[JobKind]:
    return [each.job.kind for each in client.queue()]


def do_all(client: Client, work: Runner) -> list[JobKind]:
    """Do what waits, one after the other; returns what it was."""
    did = []
    while (task := work.queue.dequeue()) is not None:
        work.queue.execute(task)
        did.append(client.jobs.get(task.id).kind)
    return did


def read_in(client: Client, work: Runner, *texts: str) -> list[Entry]:
    entries = [client.library.new_entry(text) for text in texts]
    client.ingest_all([entry.id for entry in entries])
    assert do_all(client, work) == [JobKind.INGEST]
    return entries


def test_never_a_swap_for_their_sake(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    work.describe_at_rest()
    assert queued(client) == []
    client.submit(JobKind.DESCRIBE, {})  # as if the embedding model had come in between
    do_all(client, work)
    assert steps(changes(client.bus)) == ["load embedding", "loaded embedding"]
    assert client.library.entry(entry.id).mood == ""
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    work.describe_at_rest()
    work.describe_at_rest()
    assert do_all(client, work) == [JobKind.DESCRIBE]
    described(client, entry)
    work.describe_at_rest()
    assert queued(client) == []


def test_whoever_frees_the_memory_does_not_get_it_filled_again(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    client.unload()
    client.plan(Role.INSTRUCT)
    do_all(client, work)
    assert client.snapshot().phase == "empty"
    work.describe_at_rest()
    assert queued(client) == []
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    work.describe_at_rest()
    assert do_all(client, work) == [JobKind.DESCRIBE]
    described(client, entry)


def test_a_worker_that_has_just_started_loads_nothing_by_itself(client: Client, work: Runner) -> None:
    entry = client.library.new_entry(TEXT)
    client.library.mark_entry(entry.id, entry.revision, EntryState.FINDABLE)
    work.describe_at_rest()
    assert queued(client) == []


def test_a_model_that_cannot_be_loaded_is_not_tried_again_and_again(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    tools_of(work).manager.unload_model("idle")
    client.paths.config_file.write_text('[instruct]\nfile = "/nowhere.gguf"\n')
    work.describe_at_rest()
    assert do_all(client, work) == [JobKind.DESCRIBE]
    work.describe_at_rest()
    assert queued(client) == []
    client.paths.config_file.unlink()
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    work.describe_at_rest()
    do_all(client, work)
    described(client, entry)


def test_a_few_at_a_time_the_newest_first(client: Client, work: Runner) -> None:
    entries = read_in(client, work, *(f"{TEXT} {number}" for number in range(TOGETHER + 1)))
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    work.describe_at_rest()
    do_all(client, work)
    for entry in entries[1:]:
        described(client, entry)
    assert client.library.entry(entries[0].id).mood == ""
    work.describe_at_rest()
    do_all(client, work)
    described(client, entries[0])


@pytest.mark.parametrize("asked", [0, 1, 5, 40])
def test_whoever_waits_has_the_worker_at_once(client: Client, work: Runner, asked: int) -> None:
    """However far it is: it is seen when it is asked for the `asked`th time."""
    (entry,) = read_in(client, work, TEXT)
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    looks = 0

    def waits() -> bool:
        nonlocal looks
        looks += 1
        return looks > asked

    job = client.jobs.new(JobKind.DESCRIBE, {})
    result = describe_entries(tools_of(work), job, waits)
    assert client.library.has_undescribed() == (not result["entries"])
    assert bool(client.library.entry(entry.id).mood) == bool(result["entries"])
    if asked == 0:
        assert result == {"entries": [], "notes": []}


def test_one_that_cannot_be_described_is_not_tried_again_until_its_text_changes(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    use(client.paths, write_compiled(client.paths, "title", "long", instructions="Many words. " * 4000))
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    work.describe_at_rest()
    job = client.queue()[0].job
    do_all(client, work)
    (note,) = (ended(client.jobs, job.id).result or {})["notes"]
    assert note.startswith(f"“{TEXT}” has no title: The prompt with the program's examples is longer")
    now = client.library.entry(entry.id)
    assert now.mood in MOODS
    assert now.suggested_title == ""
    assert not client.library.has_undescribed()
    reset(client.paths, "title")
    changed = client.library.write_entry(entry.id, f"{TEXT} And windy.")
    assert changed.mood == ""
    client.ingest(changed)
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    work.describe_at_rest()
    do_all(client, work)
    described(client, entry)


def test_a_starter_is_asked_in_the_words_that_it_has_learned(client: Client, work: Runner) -> None:
    """It knows no program without examples: its titles would be noise, and all its moods the same."""
    glad, worn = read_in(
        client, work, "I fed the ducks with Mira. I felt happy.", "I painted the fence. I felt worn out."
    )
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    work.describe_at_rest()
    do_all(client, work)
    assert described(client, glad).mood == "joyful"
    assert described(client, glad).suggested_title == "The day I fed the ducks with Mira"
    assert described(client, worn).mood == "tired"
    assert described(client, worn).suggested_title == "The day I painted the fence"


def test_another_program_gives_another_title_from_the_next_job_on(client: Client, work: Runner) -> None:
    entries = read_in(client, work, TEXT, TEXT)
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    client.library.redis.delete("charlie:entries:undescribed")
    titles = []
    for entry in entries:
        client.library.put_back_undescribed(entry)
        work.describe_at_rest()
        do_all(client, work)
        titles.append(described(client, entry).suggested_title)
        use(client.paths, write_compiled(client.paths, "title", "title-bootstrap"))
    assert titles[0] != titles[1]


def test_what_is_refused_is_told_with_the_job(client: Client, work: Runner) -> None:
    (entry,) = read_in(client, work, TEXT)
    use(client.paths, write_compiled(client.paths, "mood", "mood", model="another"))
    client.warm(Role.INSTRUCT)
    do_all(client, work)
    work.describe_at_rest()
    job = client.queue()[0].job
    do_all(client, work)
    (note,) = (ended(client.jobs, job.id).result or {})["notes"]
    assert "was made for the model another" in note
    described(client, entry)


# As they are stored.


def test_they_are_of_one_text(client: Client) -> None:
    library = client.library
    entry = library.new_entry(TEXT)
    library.describe_entry(entry.id, entry.revision, "calm", "River")
    assert (library.entry(entry.id).mood, library.entry(entry.id).suggested_title) == ("calm", "River")
    changed = library.write_entry(entry.id, "Bread")
    assert (changed.mood, changed.suggested_title) == ("", "")
    library.describe_entry(entry.id, entry.revision, "calm", "River")
    assert library.entry(entry.id) == changed
    library.describe_entry("nobody", 1, "calm", "River")
    assert not library.exist(["nobody"])[0]


def test_entries_of_before_have_none(client: Client) -> None:
    entry = client.library.new_entry(TEXT)
    old = {key: value for key, value in asdict(entry).items() if key not in ("mood", "suggested_title")}
    client.redis.set(f"charlie:entry:{entry.id}", json.dumps(old))
    assert client.library.entry(entry.id) == entry


def test_the_newest_wait_and_a_deleted_one_does_not(client: Client) -> None:
    library = client.library
    entries = [library.new_entry(f"Day {number}") for number in range(KEPT_UNDESCRIBED + 3)]
    library.mark_entries({entry.id: entry.revision for entry in entries}, EntryState.FINDABLE)
    library.delete_entry(entries[-1].id)
    taken = []
    while id_ := library.take_undescribed():
        taken.append(id_)
    assert taken == [entry.id for entry in entries[-2:2:-1]]


def test_they_come_back_with_the_entry(client: Client) -> None:
    entry = replace(client.library.new_entry(TEXT), mood="calm", suggested_title="River")
    client.library.delete_entry(entry.id)
    assert client.library.restore_entries([entry]) == [Restored.ADDED]
    assert client.library.entry(entry.id).mood == "calm"
    client.library.mark_entry(entry.id, 1, EntryState.FINDABLE)
    assert not client.library.has_undescribed()
