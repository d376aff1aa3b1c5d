"""Citations in an answer, such as `[1]`, `[1, 3]` and `[1-3]`, and which of them the passages support."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from core.library.chunking import sentences

CITATION = re.compile(r"\[(\d{1,4}(?:\s*[,;–-]\s*\d{1,4})*)\](?!\()")


def cited_numbers(text: str) -> Iterator[int]:
    """The numbers that a text cites, those within a range included."""
    for citation in CITATION.finditer(text):
        for part in re.split("[,;]", citation[1]):
            first, *last = map(int, re.split("[–-]", part))
            yield from range(first, max([first, *last]) + 1)


def supported(answer: str, passages: Mapping[int, str], content: Callable[[str], set[str]]) -> set[int]:
    """The numbers of the passages that the answer cites in a sentence with which they share a word.

    `content` gives the words of a text that mean something.
    """
    known = {number: content(text) for number, text in passages.items()}
    found: set[int] = set()
    before: set[str] = set()
    for start, end in sentences(answer):
        sentence = answer[start:end]
        words = content(CITATION.sub(" ", sentence))
        # A citation that stands first may follow its sentence.
        meant = words | before if CITATION.match(sentence) else words
        found |= {number for number in cited_numbers(sentence) if meant & known.get(number, set())}
        before = words
    return found
