"""Cuts a long text into chunks that a model can take: at paragraphs, else sentences, else words, else anywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CUTS = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*\s+|\n\s*|(?<=[。！？])"),
    re.compile(r"\s+"),
)
"""Where a text may be cut, the best places first."""
MOST_CHARACTERS = 32
"""A chunk has at most so many characters for each token of the limit."""
STRETCH = 4
"""Characters for each token of the limit that are tried at once in a word without end."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a text: `text == whole[start:end]`, without space around it."""

    text: str
    start: int
    end: int


def split(text: str, count_tokens: Callable[[str], int], limit: int) -> list[Chunk]:
    """Cut a text into chunks of at most `limit` tokens each, in order; together they hold all that is not space.

    Neighbouring paragraphs, sentences or words are joined while they fit. Linear in the text: every character is
    counted a few times at most. A single character that takes more than `limit` tokens is a chunk by itself.
    """
    if limit < 1:
        raise ValueError("a chunk needs at least one token")
    chunks: list[Chunk] = []
    start = end = tokens = 0
    for piece_start, piece_end, piece_tokens in _pieces(text, 0, len(text), count_tokens, limit, 0):
        if end > start and tokens + piece_tokens > limit:
            chunks.append(_chunk(text, start, end))
            start, tokens = piece_start, 0
        elif end == start:
            start = piece_start
        end = piece_end
        tokens += piece_tokens
    if end > start:
        chunks.append(_chunk(text, start, end))
    return [chunk for chunk in chunks if chunk.text]


def _chunk(text: str, start: int, end: int) -> Chunk:
    part = text[start:end]
    stripped = part.strip()
    begin = start + len(part) - len(part.lstrip())
    return Chunk(stripped, begin, begin + len(stripped))


def _pieces(
    text: str, start: int, end: int, count_tokens: Callable[[str], int], limit: int, level: int
) -> Iterator[tuple[int, int, int]]:
    """Parts of text[start:end] that fit the limit, with their tokens, cut no finer than is needed."""
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
    # A part that is certainly too long is not counted: a long text is tokenized in small parts only.
    tokens = count_tokens(part) if len(part) <= limit * MOST_CHARACTERS else limit + 1
    if tokens <= limit:
        yield start, end, tokens
    else:
        yield from _pieces(text, start, end, count_tokens, limit, level + 1)


def _halves(
    text: str, start: int, end: int, count_tokens: Callable[[str], int], limit: int
) -> Iterator[tuple[int, int, int]]:
    """Parts of one endless word: stretches that are halved until they fit."""
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
