"""The nearest entries, compared with a plain search of all vectors."""

from __future__ import annotations

from functools import partialmethod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from numpy.typing import NDArray
from redis.client import Pipeline

from app.client import Client
from core.database.keys import CHANGES
from core.library.journal import KEPT_CHANGES
from core.library.records import Entry
from core.library.vectors import LEAST_ROWS, Nearest, Quantized, Rows, VectorStore, stored_vectors

DIMENSION = 8
ONE, TWO = np.eye(DIMENSION, dtype=np.float32)[:2]


def unit(dice: np.random.Generator, rows: int) -> NDArray[np.float32]:
    found = dice.normal(size=(rows, DIMENSION)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return Quantized.of(found).vectors()  # what int8 can hold


@pytest.fixture
def store(client: Client) -> VectorStore:
    return VectorStore(client._raw, "m", DIMENSION)


def put(store: VectorStore, *entries: str) -> None:
    store.put(dict.fromkeys(entries, ONE[None]))


def names(store: VectorStore) -> set[str]:
    return set(store.rows.nearest(ONE, 100).entries)


def plainly(entries: dict[str, NDArray[np.float32]], query: NDArray[np.float32], count: int) -> list[tuple[str, int]]:
    best = {name: rows @ query for name, rows in entries.items() if len(rows)}
    order = sorted(best, key=lambda name: -best[name].max())[:count]
    return [(name, int(best[name].argmax())) for name in order]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12), count=st.integers(1, 6))
def test_the_nearest_are_those_of_a_plain_search(client: Client, seed: int, sizes: list[int], count: int) -> None:
    client._raw.flushdb()
    dice = np.random.default_rng(seed)
    store = VectorStore(client._raw, "m", DIMENSION)
    entries = {f"e{number}": unit(dice, size) for number, size in enumerate(sizes)}
    store.put(entries)
    query = unit(dice, 1)[0]
    for each in (store, VectorStore(client._raw, "m", DIMENSION)):  # also as read from the database
        assert best_rows(each.rows.nearest(query, count)) == plainly(entries, query, count)
        among = frozenset(list(entries)[::2])
        some = {name: rows for name, rows in entries.items() if name in among}
        found = each.rows.nearest(query, count, among, also=["e1"])
        assert best_rows(found)[: len(plainly(some, query, count))] == plainly(some, query, count)
        assert ("e1" in found.entries) == (len(entries.get("e1", ())) > 0)


def best_rows(found: Nearest) -> list[tuple[str, int]]:
    return [(name, int(similarities.argmax())) for name, similarities in found.entries.items()]


class Changing(RuleBasedStateMachine):
    """Any sequence of changes to the rows, compared with a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = Rows(DIMENSION)
        self.plain: dict[str, NDArray[np.float32]] = {}
        self.dice = np.random.default_rng(1)

    @rule(name=st.integers(0, 9), size=st.integers(0, LEAST_ROWS // 2))
    def put(self, name: int, size: int) -> None:
        self.plain[f"e{name}"] = unit(self.dice, size)
        self.rows.put(f"e{name}", Quantized.of(self.plain[f"e{name}"]))

    @rule(name=st.integers(0, 9))
    def remove(self, name: int) -> None:
        self.plain.pop(f"e{name}", None)
        self.rows.remove(f"e{name}")

    @rule(count=st.integers(1, 12))
    def search(self, count: int) -> None:
        query = unit(self.dice, 1)[0]
        assert best_rows(self.rows.nearest(query, count)) == plainly(self.plain, query, count)
        assert self.rows.entries() == set(self.plain)


def test_changed_rows_match_a_dictionary() -> None:
    run_state_machine_as_test(Changing, settings=settings(max_examples=30, stateful_step_count=40, deadline=None))


def test_removed_rows_are_used_again() -> None:
    rows = Rows(DIMENSION)
    for number in range(30):
        rows.put("replaced", Quantized.of(unit(np.random.default_rng(number), LEAST_ROWS)))
    assert len(rows._matrix) <= 5 * LEAST_ROWS


def test_adding_rows_rarely_copies_the_others() -> None:
    rows = Rows(DIMENSION)
    moved, matrix = 0, rows._matrix
    for number in range(20 * LEAST_ROWS):
        rows.put(f"e{number}", Quantized.of(ONE[None]))
        moved += matrix is not rows._matrix
        matrix = rows._matrix
    assert moved < 10


def test_an_entry_with_many_chunks_does_not_hide_others(store: VectorStore) -> None:
    store.put({"long": np.tile(ONE, (500, 1)), "short": TWO[None]})
    assert best_rows(store.rows.nearest(ONE, 2)) == [("long", 0), ("short", 0)]


def test_put_replaces(store: VectorStore) -> None:
    store.put({"e": np.stack([ONE, ONE])})
    store.put({"e": TWO[None]})
    assert store.rows.nearest(ONE, 5).entries["e"].tolist() == [0.0]


def test_records_of_an_earlier_version_are_converted(client: Client, store: VectorStore) -> None:
    entries = {f"e{size}": unit(np.random.default_rng(size), size) for size in (0, 1, 3, 12)}
    for name, vectors in entries.items():
        client._raw.hset("charlie:vectors:m", name, vectors.astype("<f4").tobytes())
    older = VectorStore(client._raw, "m", DIMENSION)
    converted = client._raw.hgetall("charlie:vectors:m")
    store.put(entries)
    assert converted == client._raw.hgetall("charlie:vectors:m")
    for name, vectors in entries.items():
        assert np.allclose(stored_vectors(converted[name.encode()], DIMENSION), vectors, atol=1e-6)
        assert len(converted[name.encode()]) <= len(vectors) * (DIMENSION + 4) + 3
    assert best_rows(older.rows.nearest(ONE, 5)) == best_rows(store.rows.nearest(ONE, 5))


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 8, 384])
def test_every_width_is_read_as_written(dimension: int) -> None:
    for count in range(1, 9):
        vectors = np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)
        read = stored_vectors(Quantized.of(vectors).record(), dimension)
        assert read.shape == vectors.shape
        assert np.abs(read - vectors).max() <= np.abs(vectors).max() / 127 * 0.51


def test_a_text_without_a_direction_is_kept(store: VectorStore) -> None:
    store.put({"e": np.zeros((1, DIMENSION), np.float32)})
    assert store.rows.nearest(ONE, 5).entries["e"].tolist() == [0.0]


def test_added_and_deleted_entries_are_followed(client: Client, store: VectorStore) -> None:
    first, second = client.journal.new_entry("first"), client.journal.new_entry("second")
    assert store.follow(client.journal) == [second.id, first.id]
    put(store, first.id)
    assert store.follow(client.journal) == [second.id]
    third = client.journal.new_entry("third")
    put(store, second.id)
    assert store.follow(client.journal) == [third.id]
    client.journal.delete_entry(third.id)
    client.journal.delete_entry(first.id)
    assert store.follow(client.journal) == []
    assert names(store) == names(VectorStore(client._raw, "m", DIMENSION)) == {second.id}


def test_an_entry_deleted_between_searches_is_forgotten(client: Client, store: VectorStore) -> None:
    entry = client.journal.new_entry("kept")
    put(store, "gone", entry.id)
    again = VectorStore(client._raw, "m", DIMENSION)
    assert again.follow(client.journal) == []
    assert names(again) == {entry.id}
    assert client._raw.hkeys("charlie:vectors:m") == [entry.id.encode()]


@pytest.mark.parametrize("searched", [False, True], ids=["at once", "after a search"])
@pytest.mark.parametrize("missed", [False, True], ids=["followed", "too much was missed"])
def test_a_deleted_and_restored_entry_is_indexed_again(
    client: Client, store: VectorStore, *, searched: bool, missed: bool
) -> None:
    entry = client.journal.new_entry("There and back")
    put(store, entry.id)
    assert store.follow(client.journal) == []
    client.journal.delete_entry(entry.id)
    if searched:
        assert store.follow(client.journal) == []
    if missed:
        client.redis.delete(CHANGES)
    client.journal.restore_entries([entry])
    assert store.follow(client.journal) == [entry.id]
    assert names(store) == set()


def test_a_rewritten_stream_of_changes_with_the_same_id_is_noticed(
    client: Client, store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are milliseconds: a stream deleted and written again within one millisecond repeats its last id."""
    entry = client.journal.new_entry("There and back")
    put(store, entry.id)
    client.journal.delete_entry(entry.id)
    assert store.follow(client.journal) == []
    session = client.journal.journal_session()
    ((last, _),) = client.redis.xrevrange(CHANGES, count=1)
    client.redis.delete(CHANGES)
    monkeypatch.setattr(Pipeline, "xadd", partialmethod(Pipeline.xadd, id=last))
    client.journal.restore_entries([entry])
    assert [id_ for id_, _ in client.redis.xrange(CHANGES)] == [last]
    assert store.follow(client.journal) == [entry.id]
    assert client.journal.journal_session() != session


def test_after_more_changes_than_are_kept_all_ids_are_read(client: Client, store: VectorStore) -> None:
    gone = client.journal.new_entry("gone")
    put(store, gone.id)
    assert store.follow(client.journal) == []
    client.journal.delete_entry(gone.id)
    client.journal.restore_entries([Entry(f"e{number}", "text", 1.0, 1.0) for number in range(2 * KEPT_CHANGES)])
    assert len(store.follow(client.journal)) == 2 * KEPT_CHANGES
    assert names(store) == set()


def test_a_search_reads_only_the_changed_entries(client: Client, store: VectorStore) -> None:
    """It does not read all ids again."""
    client.journal.restore_entries([Entry(f"e{number}", "text", 1.0, 1.0) for number in range(100)])
    put(store, *store.follow(client.journal))
    for change in (
        lambda: None,
        lambda: client.journal.new_entry("one more"),
        lambda: client.journal.delete_entry("e7"),
    ):
        change()
        before = client.redis.info("commandstats")
        store.follow(client.journal)
        after = client.redis.info("commandstats")
        for command in ("cmdstat_zrevrange", "cmdstat_hkeys", "cmdstat_hgetall"):
            assert after.get(command) == before.get(command), (change, command)


def test_a_library_without_a_stream_of_changes(client: Client, store: VectorStore) -> None:
    """As of an earlier version: the stream is begun, and all ids are read once."""
    entry = client.journal.new_entry("old")
    client.redis.delete(CHANGES)
    assert store.follow(client.journal) == [entry.id]
    _, position = client.journal.changes("")
    assert client.journal.changes(position) == ([], position)


def test_a_deleted_entry_leaves_no_text(client: Client, store: VectorStore) -> None:
    entry = client.journal.new_entry("A secret by the river")
    vectors = unit(np.random.default_rng(1), 1)
    store.put({entry.id: vectors})
    client.journal.delete_entry(entry.id)
    store.follow(client.journal)
    assert not store.rows.nearest(vectors[0], 5).entries
    client.trash.purge([entry.id])
    for key in client.redis.scan_iter():
        kind = client.redis.type(key)
        held = client._raw.hgetall(key) if kind == "hash" else client._raw.get(key) if kind == "string" else b""
        assert b"secret" not in str(held).encode(), key


def test_each_model_has_its_own_vectors(client: Client, store: VectorStore) -> None:
    entry = client.journal.new_entry("a")
    put(store, entry.id)
    other = VectorStore(client._raw, "other", 3)
    assert other.follow(client.journal) == [entry.id]
    assert not other.rows.nearest(np.ones(3, np.float32), 5).entries
