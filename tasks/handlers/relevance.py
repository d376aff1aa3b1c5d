"""Ranks passages by their meaning and their words together, and tells when none is near enough to a question.

The constants were fitted on the training and validation writers of the labelled diary: tests/benchmarks/search_quality.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from core.library.chunking import passages, sentences
from core.library.records import Entry, EntryState
from core.library.vectors import Nearest, Vectors
from core.library.word_index import WordIndex
from tasks.jobs.records import Hit

WORDS = 3.0
"""Weight of the BM25 score, as a share of what all words of the query weigh, beside the standardized similarity."""
SENTENCE, REFINED = 0.5, 12
"""Weight of the most similar sentence beside its passage, and the number of hits whose sentences are looked at."""
TOP = 5
"""Hits that are looked at to tell whether any is near."""
NEAR, COVERED, UNKNOWN, FEW = 0.21, 0.22, 0.58, 100
"""The least similarity, by all-MiniLM-L6-v2; what it counts that all words were found, and that none occurs at all:
among `FEW` passages half as much, as a word may be missing there by chance."""


class Passage(NamedTuple):
    """The best passage of an entry, by its number; its cosine similarity is 0 where no model was asked."""

    score: float
    entry: str
    number: int
    similarity: float


def weights_of(index: WordIndex, words: Iterable[str]) -> dict[str, float]:
    """What each word of a query weighs, by its stem: the rarer in the entries, the more."""
    stems = dict.fromkeys(stem for word in words for stem in index.stems(word))
    total, counts = len(index), {stem: index.passages_with(stem) for stem in stems}
    return {stem: math.log(1 + (total - count + 0.5) / (count + 0.5)) for stem, count in counts.items()}


def rank(found: Mapping[str, Mapping[int, float]], nearest: Nearest, weights: Mapping[str, float]) -> list[Passage]:
    """The best passage of each entry that was found by its words or is near by its meaning, best first."""
    whole, best = sum(weights.values()) or 1.0, list[Passage]()
    for entry in found.keys() | nearest.entries.keys():
        words, near = found.get(entry, {}), nearest.entries.get(entry, ())
        passages = []
        for number in words.keys() | range(len(near)):
            similarity = float(near[number]) if number < len(near) else 0.0
            meaning = (similarity - nearest.mean) / (nearest.deviation or 1.0) if similarity else 0.0
            passages.append(Passage(meaning + WORDS * words.get(number, 0.0) / whole, entry, number, similarity))
        best.append(max(passages))
    return sorted(best, reverse=True)


def covered_share(index: WordIndex, text: str, weights: Mapping[str, float]) -> float:
    """The share of a query's words, by weight, that a text has."""
    return sum(weights.get(stem, 0.0) for stem in set(index.stems(text))) / (sum(weights.values()) or 1.0)


def with_texts(
    ranked: Sequence[Passage], entries_of: Callable[[list[str]], list[Entry]], covers: Callable[[str], float]
) -> list[tuple[float, Hit]]:
    """The scores of passages, and their texts; in the first ones the sentence with most of the words is marked."""
    entries = {entry.id: entry for entry in entries_of([each.entry for each in ranked])}
    scored = list[tuple[float, Hit]]()
    for each in ranked:
        entry = entries.get(each.entry)
        if entry is None or entry.state is EntryState.SKIPPED or not (spans := passages(entry.text)):
            continue
        start, end = spans[min(each.number, len(spans) - 1)]  # an entry may change at this moment
        text = entry.text[start:end]
        mark = next(sentences(text))
        if len(scored) < REFINED:
            mark = max(sentences(text), key=lambda span, text=text: covers(text[slice(*span)]))  # type: ignore[misc]
        scored.append((each.score, Hit(entry.id, entry.title, text, round(each.similarity, 4), None, start, mark)))
    return scored


def refine(
    scored: Sequence[tuple[float, Hit]],
    embed: Callable[[list[str]], Vectors],
    query: Vectors,
    deviation: float,
    covers: Callable[[str], float],
) -> list[tuple[float, Hit]]:
    """Embed the sentences of the first hits: the best one of each is marked, and moves the hit up or down."""
    if not scored:
        return []
    first = [(score, hit, list(sentences(hit.chunk))) for score, hit in scored[:REFINED]]
    near = iter(embed([hit.chunk[slice(*span)] for _, hit, spans in first for span in spans]) @ query)
    refined = []
    for score, hit, spans in first:
        likely = {span: float(next(near)) for span in spans}
        most = max(likely.values())
        mark = max(spans, key=lambda span: likely[span] + COVERED * covers(hit.chunk[slice(*span)]))
        score += SENTENCE * (most - hit.similarity) / (deviation or 1.0)
        refined.append((score, replace(hit, similarity=round(max(most, hit.similarity), 4), mark=mark)))
    return sorted([*refined, *scored[REFINED:]], key=lambda each: each[0], reverse=True)


def is_nothing_near(hits: Sequence[Hit], index: WordIndex, weights: Mapping[str, float]) -> bool:
    """Whether no hit seems to have what a query asks for. Without words or similarities, only if there is no hit."""
    if not weights or not any(hit.similarity for hit in hits):
        return not hits
    near = max(hit.similarity for hit in hits[:TOP])
    words = max(covered_share(index, hit.chunk, weights) for hit in hits[:TOP])
    unknown = sum(weight for stem, weight in weights.items() if not index.passages_with(stem)) / sum(weights.values())
    return near + COVERED * words - UNKNOWN * unknown * len(index) / (len(index) + FEW) < NEAR
