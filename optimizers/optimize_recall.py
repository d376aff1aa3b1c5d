"""Optimizes the recall program: `python optimizers/optimize_recall.py --help`."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from core.programs.prompts import number_entries
from optimizers.command import main
from optimizers.scoring import key_words, share
from optimizers.task import Task, dated, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHERS = 2
"""Entries of the same writer beside the one that answers the question."""
WORDS = 30
"""An answer with more is no answer but a copy of the entry."""


def score(expected: Any, predicted: Any) -> float:
    """Half for the right citations, half for the share of the expected words, those of the question apart."""
    wanted = key_words(expected.answer) - key_words(expected.question) or key_words(expected.answer)
    found = share(wanted, key_words(predicted.answer)) * min(
        1, WORDS / max(1, len(re.findall(r"\w+", predicted.answer)))
    )
    return 0.5 * (set(predicted.citations) == set(expected.citations)) + 0.5 * found


def rows(part: str) -> Iterator[dict[str, Any]]:
    diary = rows_of("diary", part)
    for asked in rows_of("questions", part):
        if not asked["answer"]:
            continue
        right = next(entry for entry in diary if entry["id"] == asked["entries"][0])
        dice = random.Random(asked["id"])  # noqa: S311
        others = [entry for entry in diary if entry["writer"] == right["writer"] and entry is not right]
        given = dice.sample([right, *dice.sample(others, OTHERS)], OTHERS + 1)
        about = f"{asked['question']} {asked['answer']}"
        yield {
            "entries": number_entries(dated(entry, about) for entry in given),
            "question": asked["question"],
            "citations": [given.index(right) + 1],
            "answer": asked["answer"],
        }


TASK = Task("recall", rows, score, good=0.9, demos=3)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
