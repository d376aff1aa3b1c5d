"""An optimization task: a program, its examples from the diary in `data/`, and the score of an answer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.errors import CharlieError
from core.programs.signatures import PROGRAMS

DATA = Path(__file__).parent / "data"
PARTS = {"train": 0.4, "validation": 0.2, "test": 0.4}
"""Of the examples when their number is limited; each writer of the diary is in one part alone."""


class Method(StrEnum):
    BOOTSTRAP = "bootstrap"
    RANDOM_SEARCH = "random-search"
    MIPRO = "mipro"
    GEPA = "gepa"
    SIMBA = "simba"


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    """The program's name in PROGRAMS."""
    rows: Callable[[str], Iterable[dict[str, Any]]]
    """The examples of a part of the diary: the program's fields by name, and what else the score reads."""
    score: Callable[[Any, Any], float]
    """(expected, predicted) to a score from 0 to 1."""
    good: float
    """The least score of an answer that may become an example in a prompt."""
    demos: int
    """Most examples in a prompt."""
    labelled: bool = True
    """Whether the rows have all outputs of the program, so that they can be examples in a prompt as they are."""


@dataclass(frozen=True, slots=True)
class Split:
    """Three disjoint sets of `dspy.Example`, by different writers."""

    train: list[Any]
    validation: list[Any]
    test: list[Any]


def split(task: Task, *, seed: int, most: int | None) -> Split:
    """The examples of a task, shuffled; `most` limits their number. Raises CharlieError when that is too low."""
    import dspy

    if most is not None and most < 4:
        raise CharlieError("At least 4 examples are needed.", "Use a higher number for --examples.")
    inputs = PROGRAMS[task.name]().predict.signature.input_fields
    sets = []
    for part, share in PARTS.items():
        rows = list(task.rows(part))
        random.Random(seed).shuffle(rows)  # noqa: S311
        limit = len(rows) if most is None else max(1, round(most * share))
        sets.append([dspy.Example(**row).with_inputs(*inputs) for row in rows[:limit]])
    return Split(*sets)


def rows_of(file: str, part: str) -> list[dict[str, Any]]:
    """`diary` (its entries) or `questions`."""
    rows: list[dict[str, Any]] = json.loads((DATA / f"{file}.json").read_text(encoding="utf-8"))
    return [row for row in rows if row["split"] == part]


def dated(entry: dict[str, Any]) -> str:
    """An entry with its date, as in the app."""
    return f"{date.fromisoformat(entry['date']):%A, %d %B %Y}: {entry['text']}"
