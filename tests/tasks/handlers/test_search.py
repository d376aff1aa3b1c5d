"""Searches by a real worker, with all-MiniLM-L6-v2 and without a reranker that fits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import Receipt
from core.library.records import Entry
from core.paths import find_paths
from core.settings_file import load_settings
from tasks.jobs.records import Ended, Hits
from tests.conftest import settle
from tests.minilm import write_minilm
from tests.waiting import output

DAY = 86_400
MIB = 1024**2
TEXTS = (
    "Pulled the old tooth at last. The dentist sang while she worked. It hurt less than I had feared.",
    "Rain all day. Zoë rowed us over the lake in the leaking boat, and we laughed until we were soaked.",
    "My sister phoned about the wedding. She wants a cake with lemons, and I am to bake it.",
)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, list[Entry]]]:
    """Three indexed entries, of ten days ago, five days ago and today."""
    home = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        settle(home, patch)
        patch.setenv("CHARLIE_EMBEDDING__FILE", str(write_minilm(home / "minilm.gguf")))
        client, now = Client(load_settings(), find_paths()), time.time()
        entries = [
            Entry(f"e{n}", text, now - days * DAY, now)
            for n, (text, days) in enumerate(zip(TEXTS, (10, 5, 0), strict=True))
        ]
        with Runtime(client):
            client.journal.restore_entries(entries)
            ended(client, client.ingest_all([entry.id for entry in entries]).id)
            yield client, entries


def ended(client: Client, job: str) -> tuple[list[Hits], Ended]:
    found = list(output(client.jobs, job))
    last = found[-1]
    assert isinstance(last, Ended)
    return [item for item in found if isinstance(item, Hits)], last


def test_words_come_first_then_meaning(journal: tuple[Client, list[Entry]]) -> None:
    client, entries = journal
    hits, last = ended(client, client.search("wedding cakes").id)
    assert [hit.entry for hit in hits[0].hits] == ["e2"]
    assert hits[0].hits[0].similarity == 0
    assert len(hits[1].hits) == 3
    assert last.result is not None
    best = last.result["hits"][0]
    assert best["entry"] == "e2"
    assert not last.result["nothing_near"]
    text = entries[2].text
    assert text[best["start"] : best["start"] + len(best["chunk"])] == best["chunk"]


@pytest.mark.parametrize(
    ("query", "entry", "sentence"),
    [
        ("zoe", "e1", "Zoë rowed us"),
        ("Who made music during the extraction?", "e0", "The dentist sang while she worked."),
        ("crossing the water", "e1", "Zoë rowed us"),
    ],
)
def test_the_sentence_is_marked(journal: tuple[Client, list[Entry]], query: str, entry: str, sentence: str) -> None:
    client, _ = journal
    hits, _ = ended(client, client.search(query).id)
    best = next(found for found in reversed(hits) if not found.reranked).hits[0]
    assert best.entry == entry
    assert best.chunk[slice(*best.mark)].startswith(sentence)


def test_days_are_a_filter(journal: tuple[Client, list[Entry]]) -> None:
    client, _ = journal
    _, last = ended(client, client.search("What did I do in the last six days?").id)
    assert last.result is not None
    assert {hit["entry"] for hit in last.result["hits"]} == {"e1", "e2"}
    assert not last.result["nothing_near"]
    _, last = ended(client, client.search("the dentist in 1999").id)
    assert last.result is not None
    assert last.result["hits"][0]["entry"] == "e0"
    assert "No entry was written in the days" in last.result["note"]


@pytest.mark.parametrize(
    ("question", "entry"),
    [
        ("Did it hurt to have something extracted?", "e0"),
        ("Whose boat let the water in?", "e1"),
        ("Who gets married in our family?", "e2"),
    ],
)
def test_few_entries_answer_questions_in_words_of_their_own(
    journal: tuple[Client, list[Entry]], question: str, entry: str
) -> None:
    client, _ = journal
    _, last = ended(client, client.search(question).id)
    assert last.result is not None
    assert last.result["hits"][0]["entry"] == entry
    assert not last.result["nothing_near"]


def test_an_absent_thing_is_told(journal: tuple[Client, list[Entry]]) -> None:
    client, _ = journal
    _, last = ended(client, client.search("What is the capital of Uzbekistan?").id)
    assert last.result is not None
    assert last.result["nothing_near"]


def test_a_changed_entry_is_found_by_its_new_words_before_it_is_indexed(journal: tuple[Client, list[Entry]]) -> None:
    client, entries = journal
    changed = replace(entries[0], text="A heron stood in the garden.")
    client.journal.write_entry(changed.id, changed.text)
    hits, _ = ended(client, client.search("herons").id)
    assert hits[0].hits[0].chunk == changed.text


@pytest.mark.slow
def test_words_are_searched_without_an_embedder(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("none")
    with pytest.MonkeyPatch.context() as patch:
        settle(home, patch)
        patch.setenv("CHARLIE_EMBEDDING__FILE", str(home / "missing.gguf"))
        client = Client(load_settings(), find_paths())
        with Runtime(client):
            entry = client.journal.new_entry(TEXTS[0])
            _, last = ended(client, client.search("dentists").id)
    assert last.result is not None
    assert [hit["entry"] for hit in last.result["hits"]] == [entry.id]
    assert "Searched by words alone" in last.result["note"]


@pytest.mark.slow
def test_an_unload_does_not_wait_for_what_a_search_keeps(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The index of words, the library for dates and the examples of feelings are not part of the model."""
    home = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        settle(home, patch)
        patch.setenv("CHARLIE_EMBEDDING__FILE", str(write_minilm(home / "minilm.gguf")))
        with Runtime(client := Client(load_settings(), find_paths())):
            ended(client, client.ingest_all([client.journal.new_entry(text).id for text in TEXTS]).id)
            ended(client, client.search("the dentist last week").id)
            ended(client, client.unload().id)
            *_, receipt = (event for event in client.bus.history() if isinstance(event, Receipt))
    assert receipt.expected - receipt.returned < 6 * MIB
