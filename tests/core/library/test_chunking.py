from __future__ import annotations

from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.library.chunking import PASSAGE_CHARACTERS, passages, sentences


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def test_sentences() -> None:
    assert parts('  I met Dr. Lee. "It hurts!" she said… At 3.30 we left.\n\n- one\n- two ') == [
        "I met Dr. Lee.", '"It hurts!"', "she said…", "At 3.30 we left.", "- one", "- two",
    ]  # fmt: skip
    assert parts("今日は雨。家にいた。") == ["今日は雨。", "家にいた。"]
    assert parts("") == parts(" \n\n\t ") == []
    assert passages(" ") == []


def test_passages_overlap_by_a_sentence() -> None:
    text = " ".join(f"Sentence number {number} of this long day is here." for number in range(12))
    found = [text[start:end] for start, end in passages(text)]
    assert len(found) > 2
    for before, after in pairwise(found):
        assert parts(before)[-1] == parts(after)[0]


@given(st.text(alphabet=st.sampled_from("ab .\n!é🦊\u2028\x00。"), max_size=900))
@settings(max_examples=200, deadline=None)
def test_every_word_is_in_a_passage_of_the_right_length(text: str) -> None:
    covered = set[int]()
    for start, end in passages(text):
        assert text[start:end] == text[start:end].strip() != ""
        assert end - start <= PASSAGE_CHARACTERS
        covered |= set(range(start, end))
    assert not "".join(letter for at, letter in enumerate(text) if at not in covered).strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", ["word and word. ", "x", "\n\n", "é。", " "], ids=["prose", "one word", "space", "cjk", "line"]
)
def test_time_is_linear_in_the_text(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        began = perf_counter()
        passages(text)
        return perf_counter() - began

    small = min(seconds(250_000) for _ in range(3))
    # Linear is 4; quadratic would be 16.
    assert seconds(1_000_000) < 10 * small + 0.5
