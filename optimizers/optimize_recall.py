"""Find instructions and examples for the recall program: `python optimizers/optimize_recall.py --help`."""

from __future__ import annotations

from typing import Any

from core.programs import recall_program
from core.prompts import number_entries
from optimizers.command import main
from optimizers.scoring import words
from optimizers.task import Task, rows_of


def by_hand() -> list[dict[str, Any]]:
    return [row | {"entries": number_entries(row["entries"])} for row in rows_of("recall")]


def in_its_world(world: Any) -> tuple[Any, ...] | None:
    from optimizers.starter import program_examples

    return program_examples.recall(world)


def score(expected: Any, predicted: Any) -> float:
    """Half for the right citations, half for the part of the expected words that the answer has."""
    wanted = set(words(expected.answer))
    found = len(wanted & set(words(predicted.answer))) / len(wanted)
    return 0.5 * (set(predicted.citations) == set(expected.citations)) + 0.5 * found


TASK = Task("recall", recall_program, by_hand, in_its_world, score, good=1.0, demos=3, test=150)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
