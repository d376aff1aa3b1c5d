"""Optimizes the mood program: `python optimizers/optimize_mood.py --help`."""

from __future__ import annotations

from typing import Any

from optimizers.command import main
from optimizers.task import Task


def score(expected: Any, predicted: Any) -> float:
    return float(predicted.mood == expected.mood)


TASK = Task("mood", "entries", score, good=1.0, demos=6)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
