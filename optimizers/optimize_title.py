"""Find instructions and examples for the title program: `python optimizers/optimize_title.py --help`."""

from __future__ import annotations

from typing import Any

from core.programs import title_program
from optimizers.command import main
from optimizers.scoring import overlap
from optimizers.task import Task, fields, rows_of


def by_hand() -> list[dict[str, Any]]:
    return list(fields(rows_of("entries"), "text", "title"))


def in_its_world(world: Any) -> tuple[Any, ...] | None:
    from optimizers.starter import lessons

    return lessons.title_of(world)


def score(expected: Any, predicted: Any) -> float:
    """How near the title's words are to the expected title's."""
    return overlap(expected.title, predicted.title)


TASK = Task("title", title_program, by_hand, in_its_world, score, good=0.8, demos=4, test=150)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
