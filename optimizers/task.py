"""An optimization task: a program, its examples, and the score of an answer."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import CharlieError
from core.programs.prompts import number_entries
from core.programs.signatures import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    """The program's name in PROGRAMS."""
    written_examples: str
    """The file of examples from real life, as the program's fields by name."""
    score: Callable[[Any, Any], float]
    """(expected, predicted) to a score from 0 to 1."""
    good: float
    """The least score of an answer that may become an example in a prompt."""
    demos: int
    """Most examples in a prompt."""


@dataclass(frozen=True, slots=True)
class Split:
    """Three disjoint sets of `dspy.Example`."""

    train: list[Any]
    validation: list[Any]
    test: list[Any]


def split(task: Task, *, seed: int, most: int | None) -> Split:
    """Split the written examples. `most` limits their number, for short trials.

    Raises CharlieError when they are too few.
    """
    import dspy

    if most is not None and most < 4:
        raise CharlieError("At least 4 examples are needed.", "Use a higher number for --examples.")
    signature = PROGRAMS[task.name]().predict.signature
    rows = [_with_numbers({name: row[name] for name in signature.fields}) for row in rows_of(task.written_examples)]
    random.Random(seed).shuffle(rows)  # noqa: S311
    examples = [dspy.Example(**row).with_inputs(*signature.input_fields) for row in rows[:most]]
    quarter = len(examples) // 4
    train = len(examples) - 2 * quarter
    return Split(examples[:train], examples[train : train + quarter], examples[train + quarter :])


def _with_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A list of entries becomes text, as in the app."""
    return row | {"entries": number_entries(row["entries"])} if "entries" in row else row


def rows_of(file: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((DATA / f"{file}.json").read_text(encoding="utf-8"))
    return rows
