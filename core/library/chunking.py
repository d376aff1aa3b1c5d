"""Cuts a long text into chunks for the embedding model: at paragraphs, else sentences, else words, else anywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CUTS = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*\s+|\n\s*|(?<=[。！？])"),
    re.compile(r"\s+"),
)
"""Places where a text may be cut, the best first."""
MAX_CHARACTERS_PER_TOKEN = 32
"""A longer part surely exceeds the limit and is not tokenized."""
STRETCH = 4
"""An endless word is first cut into stretches of this many characters per token of the limit."""


def split(text: str, count_tokens: Callable[[str], int], limit: int) -> list[str]:
    """Cut a text into chunks of at most `limit` tokens, in order; only space at their ends is left out.

    Neighbouring paragraphs, sentences or words are joined while they fit. The time is linear in the text. A single
    character of more than `limit` tokens is a chunk by itself.
    """
    if limit < 1:
        raise ValueError("a chunk needs at least one token")
    chunks: list[str] = []
    start = end = tokens = 0
    for piece_start, piece_end, piece_tokens in _pieces(text, 0, len(text), count_tokens, limit, 0):
        if end > start and tokens + piece_tokens > limit:
            chunks.append(text[start:end].strip())
            start, tokens = piece_start, 0
        elif end == start:
            start = piece_start
        end = piece_end
        tokens += piece_tokens
    if end > start:
        chunks.append(text[start:end].strip())
    return [chunk for chunk in chunks if chunk]


def _pieces(
    text: str, start: int, end: int, count_tokens: Callable[[str], int], limit: int, level: int
) -> Iterator[tuple[int, int, int]]:
    """Parts of text[start:end] within the limit, with their token counts, cut no finer than necessary."""
    if level == len(CUTS):
        yield from _halves(text, start, end, count_tokens, limit)
        return
    at = start
    for cut in CUTS[level].finditer(text, start, end):
        if cut.end() > at:
            yield from _piece(text, at, cut.end(), count_tokens, limit, level)
            at = cut.end()
    if at < end:
        yield from _piece(text, at, end, count_tokens, limit, level)


def _piece(
    text: str, start: int, end: int, count_tokens: Callable[[str], int], limit: int, level: int
) -> Iterator[tuple[int, int, int]]:
    part = text[start:end]
    if not part.strip():
        yield start, end, 0
        return
    tokens = count_tokens(part) if len(part) <= limit * MAX_CHARACTERS_PER_TOKEN else limit + 1
    if tokens <= limit:
        yield start, end, tokens
    else:
        yield from _pieces(text, start, end, count_tokens, limit, level + 1)


def _halves(
    text: str, start: int, end: int, count_tokens: Callable[[str], int], limit: int
) -> Iterator[tuple[int, int, int]]:
    """Parts of one endless word: stretches, halved until they fit."""
    stretch = limit * STRETCH
    for at in range(start, end, stretch):
        stack = [(at, min(at + stretch, end))]
        while stack:
            begin, stop = stack.pop()
            tokens = count_tokens(text[begin:stop])
            if tokens <= limit or stop - begin == 1:
                yield begin, stop, tokens
                continue
            middle = (begin + stop) // 2
            stack += [(middle, stop), (begin, middle)]
