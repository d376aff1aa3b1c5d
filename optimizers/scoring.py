"""The similarity of an answer to the expected words, and the confidence interval of a mean."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from core.programs.saved import Score

if TYPE_CHECKING:
    from collections.abc import Sequence

RESAMPLES = 10_000


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def overlap(expected: str, got: str) -> float:
    """The F1 score of the words, as in SQuAD (P. Rajpurkar et al., 2016)."""
    one, other = Counter(words(expected)), Counter(words(got))
    shared = (one & other).total()
    return 2 * shared / (one.total() + other.total()) if shared else 0.0


def interval(scores: Sequence[float]) -> Score:
    """The mean of scores (0 to 1) in percent, with its 95% bootstrap interval (percentiles of means)."""
    values = np.array(scores, float) * 100
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return Score(mean=round(float(values.mean()), 2), low=round(float(low), 2), high=round(float(high), 2))
