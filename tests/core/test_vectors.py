"""The nearest entries, against a plain search of everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from numpy.typing import NDArray

from app.client import Client
from core.library import CHANGES, KEPT_CHANGES, Entry
from core.vectors import LEAST_ROWS, Near, Rows, VectorStore

DIMENSION = 8
ONE, TWO = np.eye(DIMENSION, dtype=np.float32)[:2]


def unit(dice: np.random.Generator, rows: int) -> NDArray[np.float32]:
    found = dice.normal(size=(rows, DIMENSION)).astype(np.float32)
    unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


@pytest.fixture
def store(client: Client) -> VectorStore:
    return VectorStore(client._raw, "m", DIMENSION)


def put(store: VectorStore, *entries: str) -> None:
    store.put({entry: ([entry], ONE[None]) for entry in entries})


def names(store: VectorStore) -> set[str]:
    return {near.entry for near in store.nearest(ONE, 100)}


def plainly(entries: dict[str, NDArray[np.float32]], query: NDArray[np.float32], count: int) -> list[tuple[str, int]]:
    best = {name: rows @ query for name, rows in entries.items() if len(rows)}
    order = sorted(best, key=lambda name: -best[name].max())[:count]
    return [(name, int(best[name].argmax())) for name in order]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12), count=st.integers(1, 6))
def test_nearest(client: Client, seed: int, sizes: list[int], count: int) -> None:
    client._raw.flushdb()
    dice = np.random.default_rng(seed)
    store = VectorStore(client._raw, "m", DIMENSION)
    entries = {f"e{number}": unit(dice, size) for number, size in enumerate(sizes)}
    store.put({name: ([f"{name} {row}" for row in range(len(each))], each) for name, each in entries.items()})
    query = unit(dice, 1)[0]
    for each in (store, VectorStore(client._raw, "m", DIMENSION)):  # also as read from the database
        found = each.nearest(query, count)
        wanted = [(name, f"{name} {row}") for name, row in plainly(entries, query, count)]
        assert [(near.entry, near.chunk) for near in found] == wanted
        assert [near.similarity for near in found] == sorted((near.similarity for near in found), reverse=True)


class Changing(RuleBasedStateMachine):
    """Rows under any sequence of changes, beside a dictionary that is searched plainly."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = Rows(DIMENSION)
        self.plain: dict[str, NDArray[np.float32]] = {}
        self.dice = np.random.default_rng(1)

    @rule(name=st.integers(0, 9), size=st.integers(0, LEAST_ROWS // 2))
    def put(self, name: int, size: int) -> None:
        self.plain[f"e{name}"] = unit(self.dice, size)
        self.rows.put(f"e{name}", self.plain[f"e{name}"])

    @rule(name=st.integers(0, 9))
    def remove(self, name: int) -> None:
        self.plain.pop(f"e{name}", None)
        self.rows.remove(f"e{name}")

    @rule(count=st.integers(1, 12))
    def search(self, count: int) -> None:
        query = unit(self.dice, 1)[0]
        found = self.rows.nearest(query, count)
        assert [(name, row) for name, row, _ in found] == plainly(self.plain, query, count)
        assert self.rows.entries() == set(self.plain)


def test_rows_that_change() -> None:
    run_state_machine_as_test(Changing, settings=settings(max_examples=30, stateful_step_count=40, deadline=None))


def test_rows_that_are_gone_make_room() -> None:
    rows = Rows(DIMENSION)
    for number in range(30):
        rows.put("replaced", unit(np.random.default_rng(number), LEAST_ROWS))
    assert len(rows._matrix) <= 5 * LEAST_ROWS


def test_a_row_more_does_not_move_the_others() -> None:
    rows = Rows(DIMENSION)
    moved, matrix = 0, rows._matrix
    for number in range(20 * LEAST_ROWS):
        rows.put(f"e{number}", ONE[None])
        moved += matrix is not rows._matrix
        matrix = rows._matrix
    assert moved < 10


def test_a_long_entry_does_not_hide_the_others(store: VectorStore) -> None:
    store.put({"long": (["x"] * 500, np.tile(ONE, (500, 1))), "short": (["y"], TWO[None])})
    assert store.nearest(ONE, 2) == [Near("long", "x", 1.0), Near("short", "y", 0.0)]


def test_put_replaces(store: VectorStore) -> None:
    store.put({"e": (["first", "more"], np.stack([ONE, ONE]))})
    store.put({"e": (["second"], TWO[None])})
    assert store.nearest(ONE, 5) == [Near("e", "second", 0.0)]


def test_what_comes_and_goes_is_followed(client: Client, store: VectorStore) -> None:
    library = client.library
    first, second = library.new_entry("first"), library.new_entry("second")
    assert store.follow(library) == [second.id, first.id]
    put(store, first.id)
    assert store.follow(library) == [second.id]
    third = library.new_entry("third")
    put(store, second.id)
    assert store.follow(library) == [third.id]
    library.delete_entry(third.id)
    library.delete_entry(first.id)
    assert store.follow(library) == []
    assert names(store) == names(VectorStore(client._raw, "m", DIMENSION)) == {second.id}


def test_what_was_deleted_while_nobody_looked_is_forgotten(client: Client, store: VectorStore) -> None:
    entry = client.library.new_entry("kept")
    put(store, "gone", entry.id)
    again = VectorStore(client._raw, "m", DIMENSION)
    assert again.follow(client.library) == []
    assert names(again) == {entry.id}
    assert client._raw.hkeys("charlie:vectors:m") == client._raw.hkeys("charlie:chunks:m") == [entry.id.encode()]


@pytest.mark.parametrize("searched", [False, True], ids=["at once", "after a search"])
@pytest.mark.parametrize("missed", [False, True], ids=["followed", "too much was missed"])
def test_what_was_deleted_and_brought_back_is_read_in_again(
    client: Client, store: VectorStore, *, searched: bool, missed: bool
) -> None:
    entry = client.library.new_entry("There and back")
    put(store, entry.id)
    assert store.follow(client.library) == []
    client.library.delete_entry(entry.id)
    if searched:
        assert store.follow(client.library) == []
    if missed:
        client.redis.delete(CHANGES)
    client.library.restore_entries([entry])
    assert store.follow(client.library) == [entry.id]
    assert names(store) == set()


def test_more_changes_than_are_kept(client: Client, store: VectorStore) -> None:
    gone = client.library.new_entry("gone")
    put(store, gone.id)
    assert store.follow(client.library) == []
    client.library.delete_entry(gone.id)
    client.library.restore_entries([Entry(f"e{number}", "text", 1.0, 1.0) for number in range(2 * KEPT_CHANGES)])
    assert len(store.follow(client.library)) == 2 * KEPT_CHANGES
    assert names(store) == set()


def test_following_costs_what_has_changed(client: Client, store: VectorStore) -> None:
    """Not all ids are read again, whatever is asked for in between."""
    client.library.restore_entries([Entry(f"e{number}", "text", 1.0, 1.0) for number in range(100)])
    put(store, *store.follow(client.library))
    for change in (
        lambda: None,
        lambda: client.library.new_entry("one more"),
        lambda: client.library.delete_entry("e7"),
    ):
        change()
        before = client.redis.info("commandstats")
        store.follow(client.library)
        after = client.redis.info("commandstats")
        for command in ("cmdstat_zrevrange", "cmdstat_hkeys", "cmdstat_hgetall"):
            assert after.get(command) == before.get(command), (change, command)


def test_a_library_of_an_earlier_version(client: Client, store: VectorStore) -> None:
    """There is no record of changes yet; it is begun, and all ids are read once."""
    entry = client.library.new_entry("old")
    client.redis.delete(CHANGES)
    assert store.follow(client.library) == [entry.id]
    _, position = client.library.changes("")
    assert client.library.changes(position) == ([], position)


def test_a_deleted_entry_leaves_no_text(client: Client, store: VectorStore) -> None:
    entry = client.library.new_entry("A secret by the river")
    vectors = unit(np.random.default_rng(1), 1)
    store.put({entry.id: (["A secret by the river"], vectors)})
    client.library.delete_entry(entry.id)
    assert store.nearest(vectors[0], 5) == []
    for key in client.redis.scan_iter():
        kind = client.redis.type(key)
        held = client._raw.hgetall(key) if kind == "hash" else client._raw.get(key) if kind == "string" else b""
        assert b"secret" not in str(held).encode(), key


def test_models_have_vectors_of_their_own(client: Client, store: VectorStore) -> None:
    entry = client.library.new_entry("a")
    put(store, entry.id)
    other = VectorStore(client._raw, "other", 3)
    assert other.follow(client.library) == [entry.id]
    assert other.nearest(np.ones(3, np.float32), 5) == []
