"""Ranks passages by their meaning and their words together, and tells when none is near enough to a question."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.library.chunking import sentences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.library.vector_matrix import Nearest
    from core.library.word_index import WordIndex

WORDS = 3.0
"""Weight of the BM25 score, as a share of what all words of the query weigh, beside the standardized similarity."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of an entry by its number, its cosine similarity (0 where no model was asked), and its score."""

    entry: str
    number: int
    similarity: float
    score: float


def weights_of(index: WordIndex, words: Sequence[str]) -> dict[str, float]:
    """What each word of a query weighs, by its stem: the rarer in the entries, the more."""
    total = len(index)
    stems = dict.fromkeys(stem for word in words for stem in index.stems(word))
    counts = {stem: index.passages_with(stem) for stem in stems}
    return {stem: math.log(1 + (total - count + 0.5) / (count + 0.5)) for stem, count in counts.items()}


def rank(found: Mapping[str, Mapping[int, float]], nearest: Nearest, weights: Mapping[str, float]) -> list[Passage]:
    """The best passage of each entry that was found by its words or is near by its meaning, best first."""
    whole = sum(weights.values()) or 1.0
    best: list[Passage] = []
    for entry in dict.fromkeys([*found, *nearest.entries]):
        words, near = found.get(entry, {}), nearest.entries.get(entry, ())
        passages = []
        for number in range(max(len(near), max(words, default=-1) + 1)):
            similarity = float(near[number]) if number < len(near) else 0.0
            meaning = (similarity - nearest.mean) / (nearest.deviation or 1.0) if number < len(near) else 0.0
            passages.append(Passage(entry, number, similarity, meaning + WORDS * words.get(number, 0.0) / whole))
        best += [max(passages, key=lambda passage: passage.score)] if passages else []
    return sorted(best, key=lambda passage: passage.score, reverse=True)


def is_nothing_near(ranked: Sequence[Passage], weights: Mapping[str, float]) -> bool:
    """Whether no passage seems to have what a query asks for."""
    return not ranked and not weights


def best_sentence(index: WordIndex, passage: str, weights: Mapping[str, float]) -> tuple[int, int]:
    """The sentence of a passage that has most of a query's words, the first if none has any: from, to."""
    spans = list(sentences(passage)) or [(0, len(passage))]

    def weight(span: tuple[int, int]) -> float:
        return sum(weights.get(stem, 0.0) for stem in set(index.stems(passage[slice(*span)])))

    return max(spans, key=weight) if len(spans) > 1 else spans[0]
