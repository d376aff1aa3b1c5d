"""Optimizes the recall program: `python optimizers/optimize_recall.py --help`."""

from __future__ import annotations

from typing import Any

from optimizers.command import main
from optimizers.scoring import words
from optimizers.task import Task


def score(expected: Any, predicted: Any) -> float:
    """Half for the right citations, half for the share of the expected words in the answer."""
    wanted = set(words(expected.answer))
    found = len(wanted & set(words(predicted.answer))) / len(wanted)
    return 0.5 * (set(predicted.citations) == set(expected.citations)) + 0.5 * found


TASK = Task("recall", "recall", score, good=1.0, demos=3)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
