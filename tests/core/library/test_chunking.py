from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.library.chunking import split

if TYPE_CHECKING:
    from core.llama.embedding import EmbeddingModel


def words(text: str) -> int:
    return len(text.split())


def letters(text: str) -> int:
    return len(text)


def check(text: str, chunks: list[str]) -> None:
    """Chunks are parts of the text, in order; only space is left out."""
    at = 0
    for chunk in chunks:
        assert chunk == chunk.strip() != ""
        start = text.index(chunk, at)
        assert not text[at:start].strip()
        at = start + len(chunk)
    assert not text[at:].strip()


def test_a_short_text_is_one_chunk() -> None:
    assert split("  One. Two.\n\nThree. ", words, 10) == ["One. Two.\n\nThree."]
    assert split("", words, 10) == split(" \n\n\t ", words, 10) == []


def test_splits_at_paragraphs_before_sentences_before_words() -> None:
    text = "one two three. four five.\n\nsix seven. eight nine ten eleven twelve thirteen"
    assert split(text, words, 5) == [
        "one two three. four five.",
        "six seven. eight nine ten",
        "eleven twelve thirteen",
    ]


@given(st.text(alphabet=st.sampled_from("ab .\n!é🦊\u2028\x00。"), max_size=300), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_only_space_is_lost(text: str, limit: int) -> None:
    for count in (words, letters):
        chunks = split(text, count, limit)
        check(text, chunks)
        assert all(count(chunk) <= limit for chunk in chunks)


def test_a_model_takes_every_chunk(embedding: EmbeddingModel) -> None:
    text = "We went for a walk by the river. It was calm!\n\n" * 300 + "supercalifragilistic" * 500
    chunks = split(text, embedding.count_tokens, 128)
    check(text, chunks)
    assert max(embedding.count_tokens(chunk) for chunk in chunks) <= 128
    assert len(chunks) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", ["word and word. ", "x", "\n\n", "é。", " "], ids=["prose", "one word", "space", "cjk", "line"]
)
def test_time_is_linear_in_the_text(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        began = perf_counter()
        check(text, split(text, words, 400))
        return perf_counter() - began

    small = min(seconds(250_000) for _ in range(3))
    # Linear is 4; quadratic would be 16.
    assert seconds(1_000_000) < 10 * small + 0.5


def test_a_limit_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        split("a", words, 0)
