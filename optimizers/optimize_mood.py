"""Find instructions and examples for the mood program: `python optimizers/optimize_mood.py --help`."""

from __future__ import annotations

from typing import Any

from core.programs import mood_program
from optimizers.command import main
from optimizers.task import Task, fields, rows_of


def by_hand() -> list[dict[str, Any]]:
    return list(fields(rows_of("entries"), "text", "mood"))


def in_its_world(world: Any) -> tuple[Any, ...] | None:
    from optimizers.starter import lessons

    return lessons.mood_of(world)


def score(expected: Any, predicted: Any) -> float:
    return float(predicted.mood == expected.mood)


TASK = Task("mood", mood_program, by_hand, in_its_world, score, good=1.0, demos=6, test=200)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
