"""Cuts a text into sentences, and into the passages that are indexed and shown. No model is needed for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]
"""From the first character to the one after the last."""

PASSAGE_CHARACTERS = 280
"""About 60 tokens: one thing that a person tells. Longer passages blur it, and shorter ones lack its surroundings."""
_END = re.compile(r"(?<![ .](?:Mr|Dr|St|vs)\.)(?<! Mrs\.)(?<=[.!?…])[\"'”’»)\]]*\s+|\n\s*|(?<=[。！？])")


def sentences(text: str) -> Iterator[Span]:
    """Where the sentences are; one longer than a passage is cut between words, an endless word anywhere."""
    start = 0
    for cut in [*(match.span() for match in _END.finditer(text)), (len(text), len(text))]:
        end = cut[1]
        while end - start > PASSAGE_CHARACTERS:
            space = text.rfind(" ", start + PASSAGE_CHARACTERS // 2, start + PASSAGE_CHARACTERS)
            middle = space + 1 if space > 0 else start + PASSAGE_CHARACTERS
            yield from _stripped(text, start, middle)
            start = middle
        yield from _stripped(text, start, end)
        start = end


def passages(text: str) -> list[Span]:
    """Neighbouring sentences, as many as fit; where it fits, the last one of the passage before comes first."""
    found, held = list[Span](), list[Span]()
    for start, end in sentences(text):
        if held and end - held[0][0] > PASSAGE_CHARACTERS:
            found.append((held[0][0], held[-1][1]))
            held = held[-1:] if end - held[-1][0] <= PASSAGE_CHARACTERS and len(held) > 1 else []
        held.append((start, end))
    if held:
        found.append((held[0][0], held[-1][1]))
    return found


def _stripped(text: str, start: int, end: int) -> Iterator[Span]:
    part = text[start:end]
    if words := part.strip():
        start += len(part) - len(part.lstrip())
        yield start, start + len(words)
