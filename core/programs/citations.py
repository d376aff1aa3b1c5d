"""Citations in an answer, such as `[1]`, `[1, 3]` and `[1-3]`, and which of them its passages support."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.text import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CITATION = re.compile(r"\[(\d{1,4}(?:\s*[,;–-]\s*\d{1,4})*)\](?!\()")
_ENDS = re.compile(r"(?<=[.!?…。！？])\s+|(?<=[。！？])|\n+")
_WORDS = re.compile(r"\d+|[\u3040-\u30ff\u3400-\u9fff]|[^\W\d_]{3,}")
STEM = 4
"""Letters by which forms of one word are told from other words."""
STOP_WORDS = frozenset(
    "about after all also and any are because been before but can could did does for from had has have her him his how "
    "into its just not she some than that the their them then there they this was were what when where which who why "
    "will with would you your entry entries".split()
)


def cited_numbers(citation: str) -> Iterator[int]:
    """The numbers in one citation, those within a range included."""
    for part in re.split(r"[,;]", citation.strip("[]")):
        first, *last = map(int, re.split("[–-]", part))
        yield from range(first, max([first, *last[-1:]]) + 1)


def supported(answer: str, passages: Mapping[int, str]) -> set[int]:
    """The numbers of the passages that the answer cites in a sentence with which they share a word that means something."""
    known = {number: _content(text) for number, text in passages.items()}
    found: set[int] = set()
    before: set[str] = set()
    for sentence in filter(str.strip, _ENDS.split(answer)):
        words = _content(CITATION.sub(" ", sentence))
        # A citation that stands first may follow its sentence.
        meant = words | before if CITATION.match(sentence.strip()) else words
        numbers = {number for match in CITATION.finditer(sentence) for number in cited_numbers(match[1])}
        found |= {number for number in numbers if meant & known.get(number, set())}
        before = words
    return found


def _content(text: str) -> set[str]:
    return {word[:STEM] for word in _WORDS.findall(fold(text)) if word not in STOP_WORDS}
