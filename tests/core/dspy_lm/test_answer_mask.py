"""Answers under a mask, with random logits: they satisfy the schema and end within the budget."""

from __future__ import annotations

import gc
import json
import re
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any

import llama_cpp
import numpy as np
import pytest

from core.dspy_lm import answer_mask
from core.dspy_lm.adapters import output_schema
from core.dspy_lm.answer_mask import AnswerMask, GrammarError
from core.dspy_lm.schema_bounds import share
from core.llama.calls import pieces
from core.programs.signatures import (
    QUESTION_CHARACTERS,
    REFLECTION_CHARACTERS,
    THEME_CHARACTERS,
    THEMES,
    reflection_program,
)
from tests.model_files import Size, write_random

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llama_cpp import Llama

TEXT = {"type": "string"}
SCHEMAS: dict[str, dict[str, Any] | None] = {
    "text": {"type": "object", "properties": {"answer": TEXT}},
    "texts": {"type": "object", "properties": {"some": {"type": "array", "items": TEXT, "minItems": 2}}},
    "numbers": {"type": "object", "properties": {"n": {"type": "integer"}, "x": {"type": "number"}}},
    "a name to quote": {"type": "object", "properties": {'say "é"\\\n': {"enum": ["a\nb", "c"]}}},
    "choice": {
        "type": "object",
        "properties": {"a": {"anyOf": [TEXT, {"type": "null"}, {"type": "array", "items": {"type": "boolean"}}]}},
    },
    "short text": {"type": "object", "properties": {"code": {"type": "string", "maxLength": 3}}},
    "lists of lists": {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "array", "items": {"type": "null"}, "minItems": 2}}},
    },
    "a long pattern": {
        "type": "object",
        "properties": {"mail": {"type": "string", "pattern": r"^[a-z]+(\.[a-z]+)*@[a-z]+\.(com|org)$"}},
    },
    "open": {"type": "object", "additionalProperties": True},
    "anything": None,
}
TRIES, BUDGET = 8, 120


BOTH = pytest.mark.parametrize("llama", ["bytes", "words"], indirect=True)


@pytest.fixture(scope="module")
def llama(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """The vocabulary of a model whose tokens are single bytes, or of one with words besides."""
    words = getattr(request, "param", "bytes") == "words"
    file = write_random(tmp_path_factory.mktemp("vocabulary") / "random.gguf", size=Size(words=words))
    llama = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    yield llama
    llama.close()


@cache
def tokens_of(llama: Llama) -> list[bytes]:
    piece = pieces(llama)
    return [piece(token) for token in range(llama.n_vocab())]


def write(
    llama: Llama, schema: dict[str, Any] | None, budget: int, seed: int, disliked: bytes = b"", characters: float = 1.0
) -> tuple[str, int]:
    """An answer and how many tokens it took; tokens with `disliked` bytes are chosen when there are no others."""
    mask = AnswerMask(llama, schema, budget, characters)
    chance = np.random.default_rng(seed)
    texts = tokens_of(llama)
    bias = np.array([-50.0 * any(code in disliked for code in text) for text in texts], np.float32)
    written: list[int] = []
    while not mask.done:
        logits = mask(None, bias + chance.normal(0, 1.5, len(texts)).astype(np.float32))
        likely = np.exp((logits - logits.max()).astype(np.float64))
        token = int(chance.choice(len(texts), p=likely / likely.sum()))
        mask.accept(token)
        written.append(token)
    return b"".join(texts[token] for token in written).decode(), len(written)


def values(llama: Llama, schema: dict[str, Any], budget: int = BUDGET, tries: int = TRIES) -> list[Any]:
    """Random values for one field."""
    whole = {"type": "object", "properties": {"a": schema}}
    return [json.loads(write(llama, whole, budget, seed)[0])["a"] for seed in range(tries)]


@BOTH
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
@pytest.mark.parametrize("budget", [40, 150])
@pytest.mark.parametrize("disliked", [b"", b'"]},'], ids=["any end", "no end"])
def test_an_answer_ends_within_its_budget_and_parses(
    llama: Llama, schema: dict[str, Any] | None, budget: int, disliked: bytes
) -> None:
    for seed in range(2):
        text, tokens = write(llama, schema, budget, seed, disliked, characters=4)
        assert tokens <= budget
        value = json.loads(text)
        if schema is not None and "properties" in schema:
            assert value.keys() == schema["properties"].keys()
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)


@BOTH
def test_the_shortest_answer_still_fits(llama: Llama) -> None:
    schema = SCHEMAS["texts"]
    with pytest.raises(GrammarError, match="only 3 are allowed") as refused:
        AnswerMask(llama, schema, 3, 1.0)
    least = int(re.findall(r"\d+", str(refused.value))[0])
    text, tokens = write(llama, schema, least, 1)
    assert json.loads(text) == {"some": ["", ""]}
    assert tokens == least


@BOTH
@pytest.mark.parametrize("disliked", [b'"\\', b'"\\' + bytes(range(0x80))], ids=["any character", "wide characters"])
def test_every_text_may_reach_its_declared_length(llama: Llama, disliked: bytes) -> None:
    schema = output_schema(reflection_program().predict.signature)
    text, _ = write(llama, schema, 4000, 1, disliked)
    answer = json.loads(text)
    assert [len(theme) for theme in answer["themes"]][:1] == [THEME_CHARACTERS]
    assert len(answer["reflection"]) == REFLECTION_CHARACTERS
    assert len(answer["question"]) == QUESTION_CHARACTERS
    assert len(answer["themes"]) <= THEMES


def test_a_vocabulary_goes_with_its_model(tmp_path: Path) -> None:
    file = write_random(tmp_path / "random.gguf")
    llama = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    AnswerMask(llama, None, BUDGET, 1.0)
    gone = weakref.ref(answer_mask._vocabularies[llama][0])
    assert gone() is not None
    llama.close()
    del llama
    gc.collect()
    assert gone() is None


def test_texts_without_a_length_share_the_budget(llama: Llama) -> None:
    schema = {"type": "object", "properties": {"a": TEXT, "b": {"type": "boolean"}, "c": TEXT}}
    answer = json.loads(write(llama, schema, 600, 1, b'"\\' + bytes(range(0x80, 0x100)))[0])
    assert len(answer["a"]) == len(answer["c"]) > 250


def test_who_needs_less_leaves_the_rest_to_the_others() -> None:
    assert share([1000, 5, 1000], 205) == [100, 5, 100]
    assert share([10, 20], 100) == [10, 20]
    assert share([10, 20], -3) == [0, 0]


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
        ({"minimum": -0.5, "exclusiveMaximum": 1.25}, lambda n: -0.5 <= n < 1.25),
    ],
)
def test_numbers_keep_their_bounds(llama: Llama, kind: str, bounds: dict[str, Any], right: Any) -> None:
    numbers = values(llama, {"type": kind, **bounds})
    assert all(right(number) for number in numbers), numbers
    assert kind == "number" or all(type(number) is int for number in numbers)


@pytest.mark.parametrize("bounds", [(0, 0.01), (0, 0.001), (-0.25, -0.2499), (3, 3.0000001)])
def test_numbers_near_each_other_have_more_places(llama: Llama, bounds: tuple[float, float]) -> None:
    schema = {"type": "number", "exclusiveMinimum": bounds[0], "exclusiveMaximum": bounds[1]}
    for number in values(llama, schema):
        assert bounds[0] < number < bounds[1]


def test_every_number_between_the_bounds_can_be_written(llama: Llama) -> None:
    assert set(values(llama, {"type": "integer", "minimum": -2, "maximum": 5}, tries=60)) == set(range(-2, 6))


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
        '"',
    ],
)
def test_texts_match_their_pattern(llama: Llama, pattern: str) -> None:
    for text in values(llama, {"type": "string", "pattern": pattern}, tries=3):
        assert re.search(pattern, text), text


@pytest.mark.parametrize("pattern", [None, r"^[a-z ]*$", r"^x[^x]+x?$"])
@pytest.mark.parametrize(("fewest", "longest"), [(0, 3), (5, 5), (4, 30), (9, None)])
def test_texts_keep_their_lengths(llama: Llama, pattern: str | None, fewest: int, longest: int | None) -> None:
    schema: dict[str, Any] = {"type": "string", "minLength": fewest}
    schema |= {} if longest is None else {"maxLength": longest}
    schema |= {} if pattern is None else {"pattern": pattern}
    for text in values(llama, schema, tries=3):
        assert fewest <= len(text) <= (longest or BUDGET), text


@pytest.mark.parametrize("bounds", [{"minLength": 1100}, {"pattern": "^a{1100}$"}], ids=["length", "pattern"])
def test_a_long_text(llama: Llama, bounds: dict[str, Any]) -> None:
    (text,) = values(llama, {"type": "string", **bounds}, budget=6000, tries=1)
    assert len(text) >= 1100


@pytest.mark.parametrize(
    ("keys", "pattern"),
    [
        ({"type": "integer"}, r"0|-?[1-9]\d*"),
        ({"enum": ["a.b", 7]}, r"a\.b|7"),
        ({"type": "string", "pattern": "^[a-c]{2}$"}, "[a-c]{2}"),
        ({"anyOf": [{"const": "x"}, {"type": "string", "maxLength": 2, "minLength": 1}]}, "x|..?"),
        ({}, ".{0,24}"),
    ],
)
def test_keys_keep_their_schema(llama: Llama, keys: dict[str, Any], pattern: str) -> None:
    schema = {"type": "object", "additionalProperties": {"type": "boolean"}, "propertyNames": keys, "minProperties": 1}
    for found in values(llama, schema):
        assert found
        assert all(re.fullmatch(pattern, key, re.DOTALL) for key in found), found


def test_each_place_of_an_array_has_its_own_type(llama: Llama) -> None:
    schema = {"type": "array", "prefixItems": [{"type": "integer"}, {"const": "x"}, {"type": "null"}]}
    for number, *rest in values(llama, schema):
        assert isinstance(number, int)
        assert rest == ["x", None]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#/$defs/A"}, "recursive or unknown"),
        ({"$ref": "elsewhere"}, "recursive or unknown"),
        ({"type": "date"}, "'date' is not supported"),
        ({"enum": ["a word of some length" * 10]}, "are allowed"),
        ({"type": "array", "minItems": 90, "items": {"type": "integer"}}, "are allowed"),
        ({"type": "array", "minItems": 30, "items": {"type": "object", "properties": {"name": TEXT}}}, "are allowed"),
        ({"type": "integer", "minimum": 3, "exclusiveMaximum": 3}, "No number"),
        ({"type": "integer", "minimum": 10**30}, "not supported"),
        ({"type": "number", "minimum": 1e300}, "float range"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, "at least 5 and at most 2"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 5, "maxItems": 2}, "at least 5 and at most 2"),
        (
            {"type": "object", "additionalProperties": True, "minProperties": 1, "maxProperties": 0},
            "at least 1 and at most 0",
        ),
        ({"type": "string", "pattern": "a(?=b)"}, "look-around"),
        ({"type": "string", "pattern": "(a"}, "unclosed group"),
        ({"type": "string", "pattern": "^a{3}$", "minLength": 4}, "Unsatisfiable"),
        ({"type": "string", "pattern": "^a{3}$", "maxLength": 2}, "Unsatisfiable"),
        ({"type": "object", "additionalProperties": True, "minProperties": 2}, "kept apart"),
    ],
)
def test_what_no_answer_can_satisfy_is_refused(llama: Llama, schema: dict[str, Any], message: str) -> None:
    definitions = {"A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]}}
    with pytest.raises(GrammarError, match=re.escape(message)):
        AnswerMask(llama, {"type": "object", "properties": {"a": schema}, "$defs": definitions}, BUDGET, 1.0)
