"""Answers by programs: the compiled one in use counts from the next job on; if refused, the default is used."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from app.client import Client
from app.library_changes import delete_conversation, delete_entry
from app.runtime.owner import Runtime
from core.events.types import JobProgress, JobState, Snapshot
from core.library.records import Entry
from core.paths import find_paths
from core.programs.in_use import reset, use, used_file
from core.programs.signatures import PROGRAMS
from core.settings_file import load_settings
from states.reclaim import BACK_SECONDS
from tasks.handlers import programs
from tasks.jobs.records import Text
from tasks.worker.runner import Runner
from tests.compiled import write_compiled
from tests.states.walks import state_changes
from tests.tasks.conftest import context_here
from tests.waiting import ended, first, follow_events, output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXTS = ("I walked by the river with Mira.", "Baked bread all day, and it was good.", "I could not sleep.")


@pytest.fixture
def served(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A worker in a thread of this process, for which the tiny model is large enough for programs."""
    monkeypatch.setattr(programs, "LEAST_PARAMETERS", 0)
    leaving = threading.Event()
    work = Runner(context_here(client))

    def serve() -> None:
        while not leaving.is_set():
            if (task := work.queue.dequeue()) is not None:  # waits a quarter of a second
                work.queue.execute(task)
        work._context.manager.unload_all("the test is over")

    worker = threading.Thread(target=serve)
    worker.start()
    yield client
    leaving.set()
    worker.join()


@pytest.fixture
def written(served: Client) -> Iterator[list[Entry]]:
    entries = [served.journal.new_entry(text) for text in TEXTS]
    yield entries
    for entry in entries:
        delete_entry(served, entry.id)
    for program in PROGRAMS:
        reset(served.paths, program)


def reflected(client: Client) -> dict[str, Any]:
    last = ended(client.jobs, client.reflect().id)
    assert last.state is JobState.DONE, last
    assert last.result is not None
    return last.result


def asked(client: Client, question: str = "Who walked with me?") -> dict[str, Any]:
    last = ended(client.jobs, client.ask(question, limit=3).id)
    assert last.state is JobState.DONE, last
    assert last.result is not None
    return last.result


def test_a_reflection_of_the_week(served: Client, written: list[Entry]) -> None:
    old = served.journal.new_entry("Nine days ago.")
    nine_days = 9 * 24 * 3600
    served.journal._put_entry(replace(old, created=old.created - nine_days), served.redis)
    job = served.reflect()
    *texts, last = output(served.jobs, job.id)
    assert last.state is JobState.DONE, last  # type: ignore[union-attr]
    result: dict[str, Any] = last.result  # type: ignore[union-attr, assignment]
    assert texts == [Text(result["text"])]
    themes = " · ".join(result["themes"])
    assert result["text"] == f"{themes}\n\n{result['reflection']}\n\n{result['question']}"
    assert 1 <= len(result["themes"]) <= 3
    assert [each["entry"] for each in result["citations"]] == [entry.id for entry in written]
    assert (result["program"], result["optimizer"], result["note"]) == ("reflection", None, "")
    assert result["prompt_tokens"] > 0
    assert result["completion_tokens"] > 0
    delete_entry(served, old.id)


def test_a_reflection_without_entries_is_refused(served: Client) -> None:
    last = ended(served.jobs, served.reflect().id)
    assert (last.state, last.error) == (
        JobState.FAILED,
        "There is no entry from the last seven days.",
    )


def test_a_week_that_is_longer_than_half_of_the_context(served: Client) -> None:
    text = "I walked by the river, and it was cold. " * 25
    entries = [served.journal.new_entry(f"{number}. {text}") for number in range(12)]
    result = reflected(served)
    assert [each["entry"] for each in result["citations"]] == [entry.id for entry in entries]
    assert result["note"] == "Long entries were not read as a whole: […] stands for what was left out."
    for entry in entries:
        delete_entry(served, entry.id)


@pytest.mark.usefixtures("written")
def test_a_program_in_use_takes_effect_with_the_next_job(served: Client) -> None:
    before = reflected(served)
    use(served.paths, write_compiled(served.paths, "reflection", "reflection-bootstrap"))
    after = reflected(served)
    assert (before["optimizer"], after["optimizer"]) == (None, "bootstrap")
    assert after["prompt_tokens"] > before["prompt_tokens"]
    assert after["text"] != before["text"]
    assert reset(served.paths, "reflection")
    assert reflected(served)["text"] == before["text"]


@pytest.mark.usefixtures("written")
def test_a_question_is_answered_by_the_recall_program_once_it_is_in_use(served: Client) -> None:
    before = asked(served)
    assert "program" not in before
    use(served.paths, write_compiled(served.paths, "recall", "recall-bootstrap"))
    job = served.ask("Who walked with me?", limit=3)
    *outputs, last = output(served.jobs, job.id)
    after: dict[str, Any] = last.result  # type: ignore[union-attr, assignment]
    assert (after["program"], after["optimizer"], after["note"]) == ("recall", "bootstrap", "")
    assert [each for each in outputs if isinstance(each, Text)] == [Text(after["text"])]
    assert after["text"] != before["text"]
    assert [each["entry"] for each in after["citations"]] == [each["entry"] for each in before["citations"]]
    cited = {each["number"] for each in after["citations"] if each["cited"]}
    assert cited == {number for number in range(1, 4) if f"[{number}]" in after["text"]}
    reset(served.paths, "recall")
    assert asked(served)["text"] == before["text"]


@pytest.mark.slow
@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("why", ["another model", "other fields", "no program"])
def test_an_incompatible_program_is_reported_and_the_default_runs(served: Client, why: str) -> None:
    reflection, answer = reflected(served), asked(served)
    for name in ("reflection", "recall"):
        saved = write_compiled(served.paths, name, name, model="another" if why == "another model" else "")
        if why == "other fields":
            saved = saved.model_copy(update={"signature": "0"})
        use(served.paths, saved)
        if why == "no program":
            used_file(served.paths, name).write_text('{"lm": {"model": "openai/some"}}')
    part = {
        "another model": "was made for the model another",
        "other fields": "was made for other fields",
        "no program": "is not a program of Charlie",
    }[why]
    result = reflected(served)
    assert part in result["note"]
    assert "The default 'reflection' is used" in result["note"]
    assert (result["text"], result["optimizer"]) == (reflection["text"], None)
    result = asked(served)
    assert part in result["note"]
    assert result["text"] == answer["text"]


@pytest.mark.usefixtures("written")
def test_examples_too_long_for_the_context_are_reported(served: Client) -> None:
    answer = asked(served)
    long = "Say it in your own words. " * 2000
    use(served.paths, write_compiled(served.paths, "recall", "long", instructions=long))
    result = asked(served)
    assert result["text"] == answer["text"]
    assert (
        "The compiled program 'recall' was not used: The prompt with the program's examples is longer" in result["note"]
    )
    use(served.paths, write_compiled(served.paths, "reflection", "long", instructions=long))
    last = ended(served.jobs, served.reflect().id)
    assert last.state is JobState.FAILED
    assert last.error.startswith("The prompt with the program's examples is longer")
    assert "charlie programs reset" in last.hint


@pytest.mark.usefixtures("written")
def test_a_conversation_goes_on_as_if_no_program_had_run(served: Client) -> None:
    def talk(between: bool) -> tuple[list[str], list[int]]:
        conversation = served.conversations.new_conversation().id
        replies, reused = [], []
        for text in ("Tell me about a walk by the river. " * 10, "And then?"):
            last = ended(served.jobs, served.chat(conversation, text, max_tokens=20, temperature=0).id)
            assert last.result is not None
            replies.append(last.result["text"])
            reused.append(last.result["reused_tokens"])
            if between:
                reflected(served)
        return replies, reused

    ended(served.jobs, served.unload().id)
    without, held = talk(between=False)
    delete_conversation(served, served.conversations.conversations()[0].id)
    ended(served.jobs, served.unload().id)
    replies, reused = talk(between=True)
    assert replies == without
    assert reused[1] >= held[1] > 64  # restored from the disk
    saved = list(served.paths.sessions.glob("*/*.kv"))
    assert [path.stem for path in saved] == [served.conversations.conversations()[0].id]


@pytest.mark.slow
def test_an_unload_does_not_wait_for_the_memory_of_dspy(home: Path) -> None:
    """DSPy stays in the process and is not part of the model."""
    assert home
    with Runtime(client := Client(load_settings(), find_paths())):
        client.journal.new_entry("A walk by the river")
        use(client.paths, write_compiled(client.paths, "recall", "recall-bootstrap"))
        assert asked(client)["program"] == "recall"
        ended(client.jobs, client.unload().id)
        *_, unloaded = state_changes(client.bus)
        assert unloaded.trigger == "unloaded"
        assert unloaded.elapsed_ms < BACK_SECONDS * 1000


@pytest.mark.slow
def test_a_running_program_can_be_stopped(slowly: Client) -> None:
    slowly.journal.new_entry("A long walk by the river. " * 40)
    use(slowly.paths, write_compiled(slowly.paths, "recall", "recall-bootstrap"))
    events = follow_events(slowly.bus)
    assert isinstance(next(events), Snapshot)
    job = slowly.ask("Where was the walk?")
    first(events, lambda event: isinstance(event, JobProgress) and event.id == job.id)
    slowly.cancel(job.id)
    last = ended(slowly.jobs, job.id)
    assert (last.state, last.error) == (JobState.CANCELLED, "")
    answered = ended(slowly.jobs, slowly.chat(slowly.conversations.new_conversation().id, "hello", max_tokens=2).id)
    assert answered.state is JobState.DONE
