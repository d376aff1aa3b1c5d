"""Find instructions and examples for the weekly reflection: `python optimizers/optimize_reflection.py --help`."""

from __future__ import annotations

from typing import Any

from core.programs import reflection_program
from core.prompts import number_entries
from optimizers.command import main
from optimizers.scoring import overlap
from optimizers.task import Task, rows_of


def by_hand() -> list[dict[str, Any]]:
    return [row | {"entries": number_entries(row["entries"])} for row in rows_of("weeks")]


def in_its_world(world: Any) -> tuple[Any, ...] | None:
    from optimizers.starter import program_examples

    return program_examples.reflection(world)


def score(expected: Any, predicted: Any) -> float:
    """A third each for the themes' words, for what is said back, and for a question that is one."""
    themes = overlap(" ".join(expected.themes), " ".join(predicted.themes))
    asks: bool = predicted.question.rstrip().endswith("?")
    return (themes + overlap(expected.reflection, predicted.reflection) + asks) / 3


TASK = Task("reflection", reflection_program, by_hand, in_its_world, score, good=0.85, demos=2, test=60)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
