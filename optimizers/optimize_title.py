"""Optimizes the title program: `python optimizers/optimize_title.py --help`."""

from __future__ import annotations

import re
from typing import Any

from core.programs.signatures import TITLE_CHARACTERS
from optimizers.command import main
from optimizers.scoring import f1, key_words, share
from optimizers.task import Task, rows_of

CUT = re.compile(r"[.!?…]\s+\S|(\.\.\.|…)$")
"""More than one sentence, or an unfinished one."""


def score(expected: Any, predicted: Any) -> float:
    """F1 of two shares: the title's words that the entry has, and the reader's words that the title has.

    A quarter of it for text that is only cut off somewhere.
    """
    title = key_words(predicted.title)
    wanted = key_words(expected.title)
    found = f1(share(title, wanted | key_words(expected.text)), share(wanted, title))
    cut = CUT.search(predicted.title) or len(predicted.title) >= TITLE_CHARACTERS
    return found / 4 if cut else found


def rows(part: str) -> list[dict[str, Any]]:
    return [{"text": entry["text"], "title": entry["title"]} for entry in rows_of("diary", part)]


TASK = Task("title", rows, score, good=0.5, demos=4)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
