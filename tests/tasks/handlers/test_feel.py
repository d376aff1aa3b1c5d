"""Mood and distress by the worker: with the indexing, after a reply, and corrected by a person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import Client
from core.database import keys
from core.events.types import JobKind
from core.library.records import Entry
from core.programs.feelings import MOODS
from tasks.worker import idle_work
from tasks.worker.runner import Runner
from tests.minilm import write_minilm
from tests.states.walks import changes, steps
from tests.tasks.conftest import context_here
from tests.waiting import ended

DISTRESS = "We had soup. I took the rope out of the shed and thought about how quick it would be to die."
GLAD = "I won the race! We sang and danced until midnight, what a happy day."


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_minilm(tmp_path_factory.mktemp("minilm") / "all-MiniLM-L6-v2.gguf")


@pytest.fixture
def work(client: Client, minilm: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """A runner in this process, with the real embedding model."""
    monkeypatch.setattr(idle_work, "REST_SECONDS", 0.0)
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "exclusive")
    client.paths.config_file.write_text(f'[embedding]\nfile = "{minilm}"\n')
    made = Runner(context_here(client))
    yield made
    made._context.manager.unload_all("the test is over")


def do_all(client: Client, work: Runner) -> list[JobKind]:
    did = []
    while (task := work.queue.dequeue()) is not None:
        work.queue.execute(task)
        did.append(client.jobs.get(task.id).kind)
    return did


def indexed(client: Client, work: Runner, *texts: str) -> list[Entry]:
    entries = [client.journal.new_entry(text) for text in texts]
    client.ingest_all([entry.id for entry in entries])
    do_all(client, work)
    return client.journal.entries_of([entry.id for entry in entries])


def test_mood_and_distress_come_with_the_indexing(client: Client, work: Runner) -> None:
    glad, low, empty = indexed(client, work, GLAD, DISTRESS, " ")
    assert (glad.mood, glad.distress) == ("joyful", False)
    assert low.mood in MOODS
    assert low.distress
    assert (empty.mood, empty.distress) == ("", False)
    assert not client.redis.exists(keys.UNREAD)


def test_a_mood_that_a_person_set_stays_and_is_an_example(client: Client, work: Runner) -> None:
    (entry,) = indexed(client, work, "Sorted my stamps again.")
    other = next(mood for mood in MOODS if mood != entry.mood)
    client.journal.set_mood(entry.id, other)
    (similar,) = indexed(client, work, "Sorted my stamps for an hour.")
    assert (similar.mood, similar.mood_by) == (other, "")
    changed = client.journal.write_entry(entry.id, "Sorted my stamps again, by colour.")
    client.ingest(changed)
    do_all(client, work)
    now = client.journal.entry(entry.id)
    assert (now.mood, now.mood_by) == (other, "person")
    client.journal.delete_entry(entry.id)
    assert client.journal.corrected_moods() == {}
    client.ingest(client.journal.bring_back(entry.id))
    do_all(client, work)
    assert client.journal.corrected_moods() == {entry.id: other}


def test_with_another_embedding_model_moods_follow_once_the_examples_are_embedded(client: Client, work: Runner) -> None:
    client.paths.config_file.unlink()  # the default one of the tests has no shipped vectors
    (entry,) = indexed(client, work, GLAD)
    assert entry.mood == ""
    work.idle_work.queue_next(work.busy)
    assert do_all(client, work) == [JobKind.FEEL]
    assert client.journal.entry(entry.id).mood in MOODS
    work.idle_work.queue_next(work.busy)
    assert client.queue() == []
    (other,) = indexed(client, work, GLAD)
    assert other.mood in MOODS


@pytest.mark.slow
def test_a_message_is_read_after_its_reply(client: Client, work: Runner) -> None:
    """The instruct model is warm again afterwards; a message in plain words needs no embedding model."""
    talk = client.conversations.new_conversation()
    plain = client.chat(talk.id, "I want to die.", max_tokens=4)
    do_all(client, work)
    assert (ended(client.jobs, plain.id).result or {})["distress"]
    work.idle_work.queue_next(work.busy)
    assert client.queue() == []
    veiled = client.chat(
        talk.id, "I took the rope out of the shed and thought about how quick it would be.", max_tokens=4
    )
    do_all(client, work)
    assert not (ended(client.jobs, veiled.id).result or {})["distress"]
    work.idle_work.queue_next(work.busy)
    assert do_all(client, work) == [JobKind.FEEL, JobKind.WARM]
    stored = {message.id: message for message in client.conversations.messages(talk.id)}
    assert (stored[veiled.id].stats or {})["distress"]
    assert steps(changes(client.bus))[-1] == "loaded instruct"
    client.paths.config_file.write_text('[support]\nline = ""\n')
    off = client.chat(talk.id, "I want to die.", max_tokens=4)
    do_all(client, work)
    assert not (ended(client.jobs, off.id).result or {})["distress"]


@pytest.mark.slow
def test_where_both_fit_the_instruct_model_stays_warm(
    client: Client, work: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "fitting")
    with client.paths.config_file.open("a") as file:
        file.write("\n")  # the settings are read again with their file
    talk = client.conversations.new_conversation()
    client.chat(talk.id, "I took the rope out of the shed and thought about how quick it would be.", max_tokens=4)
    do_all(client, work)
    work.idle_work.queue_next(work.busy)
    assert do_all(client, work) == [JobKind.FEEL]
    assert steps(changes(client.bus)) == ["load instruct", "loaded instruct", "load embedding", "loaded embedding"]
