"""Bounded grammars against llama.cpp's own matcher, with every choice left to chance."""

from __future__ import annotations

import ctypes
import json
import math
import random
from typing import TYPE_CHECKING, Any

import llama_cpp
import pytest

from core import starter
from core.grammar import GrammarError, bounded_grammar
from core.native import pieces, vocab_of
from core.settings import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = {"type": "string"}
SCHEMAS: dict[str, dict[str, Any] | None] = {
    "text": {"type": "object", "properties": {"answer": TEXT}},
    "texts": {"type": "object", "properties": {"some": {"type": "array", "items": TEXT, "minItems": 2}}},
    "numbers": {"type": "object", "properties": {"n": {"type": "integer"}, "x": {"type": "number"}}},
    "a name to quote": {"type": "object", "properties": {'say "é"\\\n': {"enum": ["a\nb", "c"]}}},
    "choice": {"anyOf": [TEXT, {"type": "null"}, {"type": "array", "items": {"type": "boolean"}}]},
    "short text": {"type": "object", "properties": {"code": {"type": "string", "maxLength": 3}}},
    "open": {"type": "object", "additionalProperties": True},
    "anything": None,
}


@pytest.fixture(scope="module")
def llama() -> Iterator[llama_cpp.Llama]:
    llama = llama_cpp.Llama(str(starter.path_of(Role.INSTRUCT)), vocab_only=True, verbose=False)
    yield llama
    llama.close()


def walk(llama: llama_cpp.Llama, grammar: str, chance: random.Random) -> list[bytes]:
    """One text under the grammar, byte by byte: at each, all that the grammar allows is equally likely."""
    vocab = vocab_of(llama)
    end, piece = llama.token_eos(), pieces(llama)
    tokens = [token for token in range(llama.n_vocab()) if token == end or len(piece(token)) == 1]
    assert len(tokens) == 257
    sampler = llama_cpp.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
    assert sampler, grammar
    written: list[bytes] = []
    try:
        while True:
            candidates = (llama_cpp.llama_token_data * len(tokens))(
                *(llama_cpp.llama_token_data(token, 0.0, 0.0) for token in tokens)
            )
            array = llama_cpp.llama_token_data_array(candidates, len(tokens), -1, False)
            llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
            allowed = [token for token, each in zip(tokens, candidates, strict=True) if each.logit > -math.inf]
            token = chance.choice(allowed)
            if token == end:
                return written
            llama_cpp.llama_sampler_accept(sampler, token)
            written.append(piece(token))
    finally:
        llama_cpp.llama_sampler_free(sampler)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
@pytest.mark.parametrize("budget", [40, 150])
def test_whatever_is_written_ends_within_its_budget_and_parses(
    llama: llama_cpp.Llama, schema: dict[str, Any] | None, budget: int
) -> None:
    grammar = bounded_grammar(schema, budget)
    chance = random.Random(1)
    for _ in range(10):
        written = walk(llama, grammar, chance)
        assert len(written) <= budget
        text = b"".join(written).decode("utf-8", "replace")
        value = json.loads(text)
        if schema is not None and "properties" in schema:
            assert value.keys() == schema["properties"].keys()
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize("budget", [2, 3, 4, 5])
def test_a_number_keeps_within_the_least_room(llama: llama_cpp.Llama, kind: str, budget: int) -> None:
    """A list whose budget is short leaves its numbers this much."""
    chance = random.Random(1)
    grammar = bounded_grammar({"type": kind}, budget)
    written = [b"".join(walk(llama, grammar, chance)) for _ in range(40)]
    assert 2 <= max(len(text) for text in written) <= budget
    assert all(math.isfinite(json.loads(text)) for text in written)


def test_a_longer_budget_is_for_longer_texts_and_lists(llama: llama_cpp.Llama) -> None:
    chance = random.Random(1)

    def longest(budget: int) -> int:
        grammar = bounded_grammar({"type": "object", "properties": {"a": TEXT}}, budget)
        return max(len(walk(llama, grammar, chance)) for _ in range(20))

    assert longest(20) <= 20 < longest(400)


@pytest.mark.parametrize(
    ("schema", "budget"),
    [
        ({"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]}}}, 100),
        ({"type": "date"}, 100),
        ({"$ref": "elsewhere"}, 100),
        ({"enum": ["a word of some length"]}, 10),
        ({"type": "array", "minItems": 9, "items": {"type": "integer"}}, 20),
    ],
)
def test_what_cannot_be_bounded_is_refused(schema: dict[str, Any], budget: int) -> None:
    with pytest.raises(GrammarError):
        bounded_grammar(schema, budget)
