"""Optimizes the weekly reflection: `python optimizers/optimize_reflection.py --help`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.programs.prompts import number_entries
from optimizers.command import main
from optimizers.scoring import f1, key_words, share
from optimizers.task import Task, dated, rows_of

WEEK = 3
"""Entries, in order, of one writer."""


def score(expected: Any, predicted: Any) -> float:
    """A third each: themes that name every entry and nothing else, a reflection in the entries' words, a question."""
    read = key_words(expected.entries).union(*expected.about)
    themes = key_words(" ".join(predicted.themes))
    named = sum(bool(themes & about) for about in expected.about) / len(expected.about)
    asks = predicted.question.rstrip().endswith("?") and share(key_words(predicted.question), read)
    return (f1(share(themes, read), named) + share(key_words(predicted.reflection), read) + asks) / 3


def rows(part: str) -> Iterator[dict[str, Any]]:
    """Weeks, with the words of each entry's title and themes."""
    diary = rows_of("diary", part)
    for writer in dict.fromkeys(entry["writer"] for entry in diary):
        own = [entry for entry in diary if entry["writer"] == writer]
        for first in range(0, len(own) - WEEK + 1, WEEK):
            week = own[first : first + WEEK]
            yield {
                "entries": number_entries(map(dated, week)),
                "about": [key_words(" ".join([entry["title"], *entry["themes"]])) for entry in week],
            }


TASK = Task("reflection", rows, score, good=0.6, demos=2, labelled=False)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
