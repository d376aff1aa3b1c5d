"""Bounds and patterns of a schema: all that llama.cpp lets through keeps them."""

from __future__ import annotations

import json
import math
import random
import re
from typing import TYPE_CHECKING, Any

import llama_cpp
import pytest

from core import starter
from core.grammar import GrammarError, bounded_grammar
from core.settings import Role
from tests.core.test_grammar import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

TRIES = 30
BUDGET = 120


@pytest.fixture(scope="module")
def llama() -> Iterator[llama_cpp.Llama]:
    llama = llama_cpp.Llama(str(starter.path_of(Role.INSTRUCT)), vocab_only=True, verbose=False)
    yield llama
    llama.close()


def written(llama: llama_cpp.Llama, schema: dict[str, Any], budget: int = BUDGET) -> list[str]:
    """Texts that the grammar allows, every choice left to chance."""
    chance = random.Random(7)
    grammar = bounded_grammar(schema, budget)
    return [b"".join(walk(llama, grammar, chance)).decode(errors="replace") for _ in range(TRIES)]


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize(
    ("bounds", "right"),
    [
        ({"minimum": -12, "maximum": 307}, lambda n: -12 <= n <= 307),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 2}, lambda n: 0 < n < 2),
        ({"minimum": 98}, lambda n: n >= 98),
        ({"maximum": -5}, lambda n: n <= -5),
        ({"minimum": 4, "maximum": 4}, lambda n: n == 4),
        ({"minimum": 10**15}, lambda n: n >= 10**15),
        ({"maximum": -(10**18)}, lambda n: n <= -(10**18)),
        ({"minimum": -0.5, "exclusiveMaximum": 1.25}, lambda n: -0.5 <= n < 1.25),
    ],
)
def test_numbers_keep_their_bounds(llama: llama_cpp.Llama, kind: str, bounds: dict[str, Any], right: Any) -> None:
    numbers = [json.loads(text) for text in written(llama, {"type": kind, **bounds})]
    assert all(right(number) for number in numbers), numbers
    assert all(type(number) is (int if kind == "integer" else float) for number in numbers)


@pytest.mark.parametrize("bounds", [(0, 0.01), (0, 0.001), (-0.25, -0.2499), (3, 3.0000001)])
def test_numbers_near_each_other_have_more_places(llama: llama_cpp.Llama, bounds: tuple[float, float]) -> None:
    schema = {"type": "number", "exclusiveMinimum": bounds[0], "exclusiveMaximum": bounds[1]}
    for text in written(llama, schema):
        assert bounds[0] < json.loads(text) < bounds[1], text


def test_a_number_as_large_as_a_float_can_be(llama: llama_cpp.Llama) -> None:
    for text in written(llama, {"type": "number", "minimum": 1e300}, 400):
        assert 1e300 <= json.loads(text) < math.inf


def test_every_number_between_the_bounds_can_be_written(llama: llama_cpp.Llama) -> None:
    chance = random.Random(1)
    grammar = bounded_grammar({"type": "integer", "minimum": -3, "maximum": 11}, BUDGET)
    texts = {b"".join(walk(llama, grammar, chance)).decode(errors="replace") for _ in range(400)}
    assert texts == {str(number) for number in range(-3, 12)}


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[a-z]+$",
        r"^\d{4}-(0[1-9]|1[0-2])$",
        r"(foo|ba[rz]?)+x*",
        r"^(?:\w+\.)+\w{2,4}$",
        r"[^a-z\"]{3}",
        r"\S+@\S+\s?",
        r"^[äöü]x?$",
        r"a{2,}?b*",
        r"^$",
    ],
)
def test_texts_match_their_pattern(llama: llama_cpp.Llama, pattern: str) -> None:
    for text in written(llama, {"type": "string", "pattern": pattern}):
        assert re.search(pattern, json.loads(text)), text


@pytest.mark.parametrize("pattern", [None, r"^[a-z ]*$", r"^x[^x]+x?$"])
@pytest.mark.parametrize(("fewest", "longest"), [(0, 3), (5, 5), (4, 30), (9, None)])
def test_texts_keep_their_lengths(
    llama: llama_cpp.Llama, pattern: str | None, fewest: int, longest: int | None
) -> None:
    schema: dict[str, Any] = {"type": "string", "minLength": fewest}
    schema |= {} if longest is None else {"maxLength": longest}
    schema |= {} if pattern is None else {"pattern": pattern}
    for text in written(llama, schema):
        assert fewest <= len(json.loads(text)) <= (longest or BUDGET), text


@pytest.mark.parametrize("fewest", [0, 1, 2, 12])
def test_a_bare_text_has_ink_at_both_ends_and_no_line_like_a_title(llama: llama_cpp.Llama, fewest: int) -> None:
    part = {"type": "string", "x-bare": True, "minLength": fewest}
    schema = {"type": "object", "x-sections": True, "properties": {"a": part, "b": part}}
    for text in written(llama, schema, 400):
        found = re.fullmatch(
            r"\[\[ ## a ## \]\]\n(.*)\n\n\[\[ ## b ## \]\]\n(.*)\n\n\[\[ ## completed ## \]\]\n", text, re.DOTALL
        )
        assert found, text
        for value in found.groups():
            assert value == value.strip()
            assert len(value) >= fewest
            assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value.replace("\n", ""))
            assert not re.search(r"^\s*\[", value, re.MULTILINE)


def test_keys_are_strings_and_as_many_as_asked(llama: llama_cpp.Llama) -> None:
    keys = {"type": "integer"}
    schema = {"type": "object", "additionalProperties": {"type": "boolean"}, "propertyNames": keys, "minProperties": 1}
    for text in written(llama, schema, 60):
        found = json.loads(text)
        assert found
        assert all(re.fullmatch(r"-?\d+", key) for key in found)


def test_each_place_of_an_array_has_its_own_type(llama: llama_cpp.Llama) -> None:
    schema = {"type": "array", "prefixItems": [{"type": "integer"}, {"const": "x"}, {"type": "null"}]}
    for text in written(llama, schema):
        number, *rest = json.loads(text)
        assert isinstance(number, int)
        assert rest == ["x", None]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "integer", "minimum": 3, "exclusiveMaximum": 3}, "No number"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, "at least 5 and at most 2"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 5, "maxItems": 2}, "at least 5 and at most 2"),
        ({"type": "object", "additionalProperties": True, "minProperties": 1, "maxProperties": 0}, "at most 0"),
        ({"type": "string", "pattern": "a(?=b)"}, "assert"),
        ({"type": "string", "pattern": "(a"}, "not one of Python's"),
        ({"type": "string", "pattern": "^a{3}$", "minLength": 4}, "4 characters"),
        ({"type": "string", "pattern": "^a{3}$", "maxLength": 2}, "2 characters or less"),
        ({"type": "string", "pattern": '"'}, "quotes"),
        ({"type": "object", "additionalProperties": True, "minProperties": 2}, "kept apart"),
    ],
)
def test_what_no_answer_can_keep_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(GrammarError, match=re.escape(message)):
        bounded_grammar(schema, BUDGET)
