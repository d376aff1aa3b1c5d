from __future__ import annotations

import pytest

from app.client import Client
from core.errors import CancelledError
from core.library.records import Entry
from core.library.word_index import BATCH_ENTRIES, WordIndex, content_words


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


def test_a_cancelled_build_goes_on_where_it_was(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    count, done = 3 * BATCH_ENTRIES, list[int]()
    client.journal.restore_entries([Entry(f"e{number}", f"word{number}", 1.0, 1.0) for number in range(count)])
    index = WordIndex()
    with pytest.raises(CancelledError):
        index.follow(client.journal, lambda at, _: done.append(at), lambda: bool(done))
    assert done == [BATCH_ENTRIES]
    taken = set(index.find([f"word{number}" for number in range(count)], count))
    assert len(taken) == BATCH_ENTRIES
    changed, gone = (sorted(ids)[0] for ids in (taken, {f"e{number}" for number in range(count)} - taken))
    client.journal.write_entry(changed, "Lemon cake")
    client.journal.delete_entry(gone)
    written, put = list[str](), index.put

    def noted(entry: str, text: str) -> None:
        written.append(entry)
        put(entry, text)

    monkeypatch.setattr(index, "put", noted)
    index.follow(client.journal)
    assert list(index.find(["cake"], 5)) == [changed]
    assert index.find([f"word{gone[1:]}"], 5) == {}
    assert len(index) == count - 1
    assert len(written) == len(set(written)) == 2 * BATCH_ENTRIES + 1  # none of the first batch but the changed one
