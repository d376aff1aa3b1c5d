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

    from optimizers.starter.world import World

DATA = Path(__file__).parent / "data"
TRAIN, VALIDATION = 80, 60
"""Numbers of generated examples for a starter model."""


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    """The program's name in PROGRAMS."""
    written_examples: str
    """The file of examples from real life, as the program's fields by name."""
    generate_example: Callable[[World], tuple[Any, ...] | None]
    """A random example from the starter's small world, as fields in order; None when the draw gave none."""
    score: Callable[[Any, Any], float]
    """(expected, predicted) to a score from 0 to 1."""
    good: float
    """The least score of an answer that may become an example in a prompt."""
    demos: int
    """Most examples in a prompt."""
    test: int
    """Number of examples in the starter's test set."""


@dataclass(frozen=True, slots=True)
class Split:
    """Three disjoint sets of `dspy.Example`."""

    train: list[Any]
    validation: list[Any]
    test: list[Any]


def split(task: Task, *, starter: bool, seed: int, most: int | None) -> Split:
    """Split generated examples for a starter, which knows only its small world, and written ones for other models.

    `most` limits their number, for short trials. Raises CharlieError when they are too few.
    """
    import dspy

    if most is not None and most < 4:
        raise CharlieError("At least 4 examples are needed.", "Use a higher number for --examples.")
    signature = PROGRAMS[task.name]().predict.signature
    names = list(signature.fields)
    if not starter:
        rows = [_with_numbers({name: row[name] for name in names}) for row in rows_of(task.written_examples)]
        random.Random(seed).shuffle(rows)  # noqa: S311
        quarter = len(rows[:most]) // 4
        sizes = (len(rows[:most]) - 2 * quarter, quarter, quarter)
    else:
        sizes = (TRAIN, VALIDATION, task.test)
        if most is not None and most < sum(sizes):
            sizes = (most - 2 * (most // 4), most // 4, most // 4)
        rows = _generate(task, names, sum(sizes), seed)
    examples = [dspy.Example(**row).with_inputs(*signature.input_fields) for row in rows]
    train, validation, test = sizes
    return Split(examples[:train], examples[train : train + validation], examples[train + validation :][:test])


def _with_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """A list of entries becomes text, as in the app."""
    return row | {"entries": number_entries(row["entries"])} if "entries" in row else row


def _generate(task: Task, names: list[str], count: int, seed: int) -> list[dict[str, Any]]:
    """Distinct examples, of words that were held out from the starter's training."""
    from optimizers.starter.world import World

    world = World(seed, held_out=True)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        if values := task.generate_example(world):
            found.setdefault(str(values[0]), dict(zip(names, values, strict=True)))
    return list(found.values())


def rows_of(file: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((DATA / f"{file}.json").read_text(encoding="utf-8"))
    return rows
