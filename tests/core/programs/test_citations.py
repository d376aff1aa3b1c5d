from __future__ import annotations

import re

import pytest

from core.programs.citations import cited_numbers, supported

PASSAGES = {1: "I walked by the river with Mira.", 2: "Bread rose all day.", 3: "The gate's code is 4711."}


def content(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower())) - {"the", "you", "with", "was"}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("By the river [1].", [1]),
        ("[1, 3] and [12; 2]", [1, 3, 12, 2]),
        ("[1-3] [2–4] [3 - 2]", [1, 2, 3, 2, 3, 4, 3]),
        ("[1](http://a.invalid) [] [a] [1.5] a[x1]", []),
    ],
)
def test_lists_and_ranges_are_citations(text: str, numbers: list[int]) -> None:
    assert list(cited_numbers(text)) == numbers


@pytest.mark.parametrize(
    ("answer", "cited"),
    [
        ("You walked along the river [1].", {1}),
        ("You walked along the river [1, 3].", {1}),
        ("River, bread and 4711 [1-3].", {1, 2, 3}),
        ("You walked along the river. [1] The bread rose [2].", {1, 2}),
        ("[3] The code is 4711.", {3}),
        ("You were glad [1].", set()),
        ("You walked along the river.", set()),
        ("You walked along the river. You slept [1].", set()),
        ("The river [7].", set()),
    ],
)
def test_a_citation_counts_where_its_sentence_shares_a_word_with_the_passage(answer: str, cited: set[int]) -> None:
    assert supported(answer, PASSAGES, content) == cited
