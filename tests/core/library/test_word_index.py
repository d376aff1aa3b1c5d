from __future__ import annotations

import pytest

from app.client import Client
from core.library.word_index import WordIndex, content_words


@pytest.fixture
def index() -> WordIndex:
    made = WordIndex()
    made.put("river", "We walked by the river with Zoë. Then it rained.")
    made.put("cake", "Nobody ate the lemon cake.")
    return made


def test_stems_and_accents_are_found(index: WordIndex) -> None:
    assert list(index.find(["walking"], 5)) == list(index.find(["zoe"], 5)) == ["river"]
    assert index.find(["nothing"], 5) == index.find([], 5) == {}


@pytest.mark.parametrize("query", ['"', "NOT river", "river*", "text:river", "(", "a AND", "river NEAR cake", "-", "'"])
def test_no_query_is_syntax(index: WordIndex, query: str) -> None:
    assert set(index.find(content_words(query), 5)) <= {"river", "cake"}


def test_a_replaced_or_removed_text_is_not_found(index: WordIndex) -> None:
    index.put("cake", "A pie.")
    index.put("river", "")
    assert index.find(["cake", "river"], 5) == {}
    assert list(index.find(["pie"], 5)) == ["cake"]


def test_only_some_entries(index: WordIndex) -> None:
    index.put("boat", "A boat on the river.")
    assert list(index.find(["river"], 5, among={"boat"})) == ["boat"]


def test_follows_the_journal(client: Client) -> None:
    journal, index = client.journal, WordIndex()
    first, second = journal.new_entry("A heron by the water"), journal.new_entry("Lemon cake")
    index.follow(journal)
    assert list(index.find(["heron"], 5)) == [first.id]
    journal.write_entry(first.id, "A swan by the water")
    journal.delete_entry(second.id)
    index.follow(journal)
    assert index.find(["heron", "cake"], 5) == {}
    assert list(index.find(["swans"], 5)) == [first.id]
    journal.bring_back(second.id)
    client.redis.delete("charlie:entries:changes")  # too much was missed: all is read again
    journal.delete_entry(first.id)
    index.follow(journal)
    assert list(index.find(["cake", "swan"], 5)) == [second.id]
