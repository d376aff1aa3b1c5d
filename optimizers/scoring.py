"""The words that count in an answer, and the confidence interval of a mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from core.library.word_index import STOP_WORDS
from core.programs.saved import Score

RESAMPLES = 10_000
STEM = 6
"""Letters by which forms of one word are told from other words."""


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold().replace("'s", ""))


def key_words(text: str) -> set[str]:
    """The words that carry meaning, cut to their stems; all words where none does."""
    every = words(text)
    return {word[:STEM] for word in every if word not in STOP_WORDS} or {word[:STEM] for word in every}


def share(part: set[str], whole: set[str]) -> float:
    """How much of `part` is in `whole`."""
    return len(part & whole) / len(part) if part else 0.0


def f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def interval(scores: Sequence[float]) -> Score:
    """The mean of scores (0 to 1) in percent, with its 95% bootstrap interval (percentiles of means)."""
    values = np.array(scores, float) * 100
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return Score(mean=round(float(values.mean()), 2), low=round(float(low), 2), high=round(float(high), 2))
