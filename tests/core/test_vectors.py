"""The nearest entries, against a plain search of everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.client import Client
from core.vectors import Near, VectorStore

DIMENSION = 8


def unit(dice: np.random.Generator, rows: int) -> NDArray[np.float32]:
    found = dice.normal(size=(rows, DIMENSION)).astype(np.float32)
    unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


@pytest.fixture
def store(client: Client) -> VectorStore:
    return VectorStore(client._raw, "m", DIMENSION)


def plainly(entries: dict[str, NDArray[np.float32]], query: NDArray[np.float32], count: int) -> list[tuple[str, str]]:
    best = {name: rows @ query for name, rows in entries.items() if len(rows)}
    order = sorted(best, key=lambda name: -best[name].max())[:count]
    return [(name, f"{name} {best[name].argmax()}") for name in order]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12), count=st.integers(1, 6))
def test_nearest(client: Client, seed: int, sizes: list[int], count: int) -> None:
    client._raw.flushdb()
    dice = np.random.default_rng(seed)
    store = VectorStore(client._raw, "m", DIMENSION)
    entries = {f"e{number}": unit(dice, size) for number, size in enumerate(sizes)}
    for name, vectors in entries.items():
        store.put(name, [f"{name} {row}" for row in range(len(vectors))], vectors)
    query = unit(dice, 1)[0]
    for each in (store, VectorStore(client._raw, "m", DIMENSION)):  # also as read from the database
        found = each.nearest(query, count)
        assert [(near.entry, near.chunk) for near in found] == plainly(entries, query, count)
        assert [near.similarity for near in found] == sorted((near.similarity for near in found), reverse=True)


def test_a_long_entry_does_not_hide_the_others(store: VectorStore) -> None:
    query = np.eye(DIMENSION, dtype=np.float32)[0]
    store.put("long", ["x"] * 500, np.tile(query, (500, 1)))
    store.put("short", ["y"], np.eye(DIMENSION, dtype=np.float32)[1:2])
    assert store.nearest(query, 2) == [Near("long", "x", 1.0), Near("short", "y", 0.0)]


def test_put_replaces(store: VectorStore) -> None:
    one, two = np.eye(DIMENSION, dtype=np.float32)[:2]
    store.put("e", ["first", "more"], np.stack([one, one]))
    store.put("e", ["second"], two[None])
    assert store.nearest(one, 5) == [Near("e", "second", 0.0)]


def test_what_is_gone_is_forgotten(client: Client, store: VectorStore) -> None:
    one = np.eye(DIMENSION, dtype=np.float32)[:1]
    for name in ("a", "b"):
        store.put(name, [name], one)
    store.keep_only({"b"})
    store.keep_only({"b"})
    assert store.missing(["a", "b"]) == ["a"]
    assert [near.entry for near in VectorStore(client._raw, "m", DIMENSION).nearest(one[0], 5)] == ["b"]


def test_a_deleted_entry_leaves_no_text(client: Client, store: VectorStore) -> None:
    entry = client.library.new_entry("A secret by the river")
    vectors = unit(np.random.default_rng(1), 1)
    store.put(entry.id, ["A secret by the river"], vectors)
    client.library.delete_entry(entry.id)
    assert store.nearest(vectors[0], 5) == []
    for key in client.redis.scan_iter():
        kind = client.redis.type(key)
        held = client._raw.hgetall(key) if kind == "hash" else client._raw.get(key) if kind == "string" else b""
        assert b"secret" not in str(held).encode(), key


def test_models_have_vectors_of_their_own(client: Client, store: VectorStore) -> None:
    store.put("a", ["a"], np.eye(DIMENSION, dtype=np.float32)[:1])
    other = VectorStore(client._raw, "other", 3)
    assert other.missing(["a"]) == ["a"]
    assert other.nearest(np.ones(3, np.float32), 5) == []
