from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from core.errors import CancelledError

if TYPE_CHECKING:
    from core.llama.reranker import RerankerModel


def test_a_passage_that_answers_scores_higher(reranker: RerankerModel) -> None:
    passages = [
        "I repaired the bicycle with Mira in the garden.",
        "I repaired the bicycle with Jonas in the garden.",
        "I baked bread with Mira in the garden.",
        "It rained for an hour.",
    ]
    answer, other_person, other_deed, nothing = reranker.score("When did Mira and I fix the bike?", passages)
    assert 1 >= answer > 0.9
    assert 0 <= nothing < 0.1
    assert answer > max(other_person, other_deed)


def test_a_score_does_not_depend_on_other_passages(reranker: RerankerModel) -> None:
    passages = ["a walk by the river", "bread", "river " * 300, "the sea and the wind"]
    together = reranker.score("river walk", passages)
    alone = [reranker.score("river walk", [passage])[0] for passage in passages]
    assert together == pytest.approx(alone, abs=1e-3)
    assert reranker.score("river walk", []) == []


@pytest.mark.parametrize(
    "text", ["", "\x00", "\ud800", "🦊 日本", "x" * 1_000_000, "word " * 20_000, "\x1b[31m"], ids=range(7)
)
def test_any_text_has_a_score(reranker: RerankerModel, text: str) -> None:
    assert all(0 <= score <= 1 for score in reranker.score(text, [text, "a walk", ""]))


def test_cancelled_and_usable_afterwards(reranker: RerankerModel) -> None:
    before = reranker.score("walk", ["a walk"])
    for polls_before in (0, 2):
        polls = itertools.count()
        with pytest.raises(CancelledError):
            reranker.score("walk", ["a walk"] * 400, cancelled=lambda p=polls, n=polls_before: next(p) >= n)  # type: ignore[misc]
    assert reranker.score("walk", ["a walk"]) == before
