"""A transaction whose reads take one round trip."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from app.client import Client
from core.database.connection import transact


@pytest.fixture
def text(client: Client) -> Any:
    return client.redis


def test_a_change_is_made_again_when_another_client_wrote_in_between(text: Any) -> None:
    text.set("count", 1)
    seen = []

    def add(pipe: Any, found: list[Any]) -> int:
        seen.append(found)
        if len(seen) == 1:
            text.set("count", 5)  # on a connection of its own
        pipe.set("count", int(found[0]) + 1)
        return len(seen)

    assert transact(text, ["count"], [("GET", "count"), ("EXISTS", "other")], add) == 2
    assert seen == [["1", 0], ["5", 0]]
    assert text.get("count") == "6"


def test_an_error_in_a_change_writes_nothing_and_stops_watching(text: Any) -> None:
    def fail(pipe: Any, _: list[Any]) -> None:
        pipe.set("key", "half")
        raise ValueError("a reason")

    with pytest.raises(ValueError, match="a reason"):
        transact(text, ["key"], [], fail)
    assert text.get("key") is None
    assert transact(text, ["key"], [("GET", "key")], lambda _, found: found) == [None]  # writes nothing either


def test_a_refused_read_leaves_the_connection_usable(text: Any) -> None:
    text.set("word", "a")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        transact(text, ["word"], [("HGETALL", "word"), ("GET", "word")], lambda *_: None)
    assert text.get("word") == "a"
    assert transact(text, ["word"], [("GET", "word")], lambda _, found: found) == ["a"]


def test_a_lost_connection_is_replaced(text: Any) -> None:
    text.set("word", "a")
    text.client_kill_filter(skipme=False)
    assert transact(text, ["word"], [("GET", "word")], lambda pipe, found: (pipe.set("word", "b"), found)[1]) == ["a"]
    assert text.get("word") == "b"
