"""Optimizes the weekly reflection: `python optimizers/optimize_reflection.py --help`."""

from __future__ import annotations

from typing import Any

from optimizers.command import main
from optimizers.scoring import overlap
from optimizers.task import Task


def score(expected: Any, predicted: Any) -> float:
    """A third each for the words of the themes, the words of the reflection, and a question mark."""
    themes = overlap(" ".join(expected.themes), " ".join(predicted.themes))
    asks: bool = predicted.question.rstrip().endswith("?")
    return (themes + overlap(expected.reflection, predicted.reflection) + asks) / 3


TASK = Task("reflection", "weeks", score, good=0.85, demos=2)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
