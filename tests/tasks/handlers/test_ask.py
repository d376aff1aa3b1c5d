"""A question: the model reads what was found, with its date, and its citations count where they are supported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.paths import find_paths
from core.programs.prompts import day_of
from core.settings_file import load_settings
from tasks.jobs.records import Hit, Hits, Text, citations
from tests.model_variants import cut, write_chain
from tests.waiting import ended, output

FOURTH_OF_MAY = 1_777_896_000.0
RAIN = "It rained all day, and the lawn is under water. "


@contextmanager
def answering(home: Path, answer: str, *entries: str, tires: bool = False) -> Iterator[Client]:
    """A worker whose model always gives this answer, and a journal."""
    file = write_chain(home / "chain.gguf", cut(answer, 5), ends=not tires, tires=tires)
    paths = find_paths()
    paths.make()
    paths.config_file.write_text(f'[instruct]\nfile = "{file}"\n')
    with Runtime(client := Client(load_settings(), paths)):
        for text in entries:
            entry = client.journal.new_entry(text)
            client.journal._put_entry(replace(entry, created=FOURTH_OF_MAY), client.redis)
            ended(client.jobs, client.ingest(entry).id)
        yield client


def asked(client: Client, question: str, **options: Any) -> dict[str, Any]:
    last = ended(client.jobs, client.ask(question, **options).id)
    assert last.result is not None, last
    return last.result


def cited(result: dict[str, Any]) -> set[int]:
    return {each["number"] for each in result["citations"] if each["cited"]}


@pytest.mark.slow
@pytest.mark.parametrize("rain", [10, 200])
def test_a_fact_at_the_end_of_a_long_entry_is_read(home: Path, rain: int) -> None:
    """The chain's tokens are bytes, of which its context has 2,048. Only what was read supports a citation."""
    entry = RAIN * rain + "The code of the garden gate is 4711."
    with answering(home, "Try 4711 [1].", entry) as client:
        result = asked(client, "What is the code of the garden gate?", max_tokens=64)
    assert cited(result) == {1}
    assert result["prompt_tokens"] < 2048
    assert ("were not read as a whole" in result["note"]) == (rain > 10)
    (citation,) = result["citations"]
    assert citation["chunk"][slice(*citation["mark"])] == "The code of the garden gate is 4711."


def test_lists_and_ranges_cite_and_only_what_shares_a_word_is_marked(home: Path) -> None:
    entries = "A walk by the river.", "Bread by the river.", "The exam went badly.", "A river of tears."
    with answering(home, "All by the river [1-3]. Then tears [3, 4]. Fin [2].", *entries) as client:
        assert cited(asked(client, "Where is the river?")) == {1, 2, 4}


def test_an_entry_is_read_with_its_date(home: Path) -> None:
    with answering(home, "It was in May [1].", "I walked by the river.") as client:
        assert cited(asked(client, "When did I walk by the river?")) == {1}
    assert day_of(FOURTH_OF_MAY, "UTC") == "Monday, 04 May 2026"


def test_passages_come_before_the_answer_and_the_prompts_share_their_beginning(home: Path) -> None:
    with answering(home, "By the river [1].", "A walk by the river with Mira.", "Mira baked bread.") as client:
        *outputs, _ = output(client.jobs, client.ask("Who walked by the river?").id)
        kinds = [type(each) for each in outputs]
        assert kinds.index(Text) > max(n for n, kind in enumerate(kinds) if kind is Hits)
        other = asked(client, "Who baked bread?")
    assert other["prompt_tokens"] - other["reused_tokens"] < 60, "only the question is new"


def test_numbers_go_by_the_entry_and_not_by_the_rank() -> None:
    one, two = (Hit(id_, "", "", 0.5) for id_ in "ab")
    for hits in ([one, two], [two, one]):
        assert {each["entry"]: each["number"] for each in citations(hits)} == {"a": 1, "b": 2}


def test_nothing_near_is_said_without_the_model(home: Path) -> None:
    with answering(home, "Surely [1].", "I walked by the river.", "Baked bread all day.") as client:
        result = asked(client, "zygote quantum chromodynamics")
        assert result["nothing_near"]
        assert (result["text"], cited(result)) == ("Not in your entries.", set())
        assert client.snapshot().model != "chain"


def test_an_answer_does_not_loop_unless_a_repeat_penalty_is_set(home: Path) -> None:
    with answering(home, "By the river", "I walked by the river.", tires=True) as client:
        steady = asked(client, "Where did I walk?", max_tokens=50)
        looping = asked(client, "Where did I walk?", max_tokens=50, repeat_penalty=1.0)
    assert (steady["text"], steady["finish_reason"]) == ("By the river", "stop")
    assert (looping["text"], looping["finish_reason"]) == ("By the riv" + "er" * 48, "length")
