"""What there is to optimize: a program, its examples, and how an answer is scored."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import CharlieError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import dspy

    from optimizers.starter.world import World

DATA = Path(__file__).parent / "data"
TRAIN, VALIDATION = 80, 60
"""Examples that are made for the starter."""


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    program: Callable[[], dspy.Module]
    by_hand: Callable[[], list[dict[str, Any]]]
    """Examples from real life, by the names of the program's fields."""
    in_its_world: Callable[[World], tuple[Any, ...] | None]
    """An example that a starter model can know, its fields in order; None where the draw gave none."""
    score: Callable[[Any, Any], float]
    """(expected, predicted) to 0 to 1."""
    good: float
    """From this score on an answer may serve as an example to others."""
    demos: int
    """The most examples in a prompt."""
    test: int
    """Examples in the starter's test set."""


@dataclass(frozen=True, slots=True)
class Split:
    """The examples as `dspy.Example`, in three parts that share none."""

    train: list[Any]
    validation: list[Any]
    test: list[Any]


def split(task: Task, *, starter: bool, seed: int, most: int | None) -> Split:
    """A starter's examples are of its own small world, as it knows no other; those of others were written by hand.

    Raises CharlieError when there are too few. `most` is for short trials.
    """
    if most is not None and most < 4:
        raise CharlieError("At least 4 examples are needed.", "Give --examples a higher number.")
    if not starter:
        rows = task.by_hand()
        random.Random(seed).shuffle(rows)  # noqa: S311
        quarter = len(rows[:most]) // 4
        sizes = (len(rows[:most]) - 2 * quarter, quarter, quarter)
    else:
        sizes = (TRAIN, VALIDATION, task.test)
        if most is not None and most < sum(sizes):
            sizes = (most - 2 * (most // 4), most // 4, most // 4)
        rows = _made(task, sum(sizes), seed)
    inputs = task.program().predict.signature.input_fields
    examples = [_example(row, inputs) for row in rows]
    train, validation, test = sizes
    return Split(examples[:train], examples[train : train + validation], examples[train + validation :][:test])


def _example(row: dict[str, Any], inputs: Any) -> Any:
    import dspy

    return dspy.Example(**row).with_inputs(*inputs)


def _made(task: Task, count: int, seed: int) -> list[dict[str, Any]]:
    """All different, and of words that the starter's training has not seen."""
    from optimizers.starter.world import World

    world = World(seed, held_out=True)
    fields = list(task.program().predict.signature.fields)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        if values := task.in_its_world(world):
            found.setdefault(str(values[0]), dict(zip(fields, values, strict=True)))
    return list(found.values())


def rows_of(file: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((DATA / f"{file}.json").read_text(encoding="utf-8"))
    return rows


def fields(rows: list[dict[str, Any]], *names: str) -> Iterator[dict[str, Any]]:
    return ({name: row[name] for name in names} for row in rows)
