"""Optimizes the recall program: `python optimizers/optimize_recall.py --help`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.programs.prompts import number_entries
from optimizers.command import main
from optimizers.scoring import key_words, share
from optimizers.task import Task, dated, rows_of

WORDS = 30
"""An answer with more is no answer but a copy of the entry."""


def score(expected: Any, predicted: Any) -> float:
    """Half for the right citations, half for the share of the expected words, those of the question apart."""
    wanted = key_words(expected.answer) - key_words(expected.question) or key_words(expected.answer)
    found = share(wanted, key_words(predicted.answer)) * min(1, WORDS / max(1, len(predicted.answer.split())))
    return 0.5 * (set(predicted.citations) == set(expected.citations)) + 0.5 * found


def rows(part: str) -> Iterator[dict[str, Any]]:
    """Each question with its entry among others of the same writer."""
    diary = {row["id"]: row for row in rows_of("diary", part)}
    for asked in rows_of("questions", part):
        if asked["answer"]:
            yield {
                "entries": number_entries(dated(diary[each]) for each in asked["among"]),
                "question": asked["question"],
                "citations": [asked["among"].index(asked["entries"][0]) + 1],
                "answer": asked["answer"],
            }


TASK = Task("recall", rows, score, good=0.9, demos=2)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
