"""Optimizes the title program: `python optimizers/optimize_title.py --help`."""

from __future__ import annotations

from typing import Any

from optimizers.command import main
from optimizers.scoring import overlap
from optimizers.task import Task


def score(expected: Any, predicted: Any) -> float:
    return overlap(expected.title, predicted.title)


TASK = Task("title", "entries", score, good=0.8, demos=4)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
