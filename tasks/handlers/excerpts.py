"""What a model reads of texts that are too long together: from the passages that were found outwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.library.chunking import sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Span = tuple[int, int]

CUT = "[…]"
"""Stands for what was left out."""
CHARACTERS_PER_TOKEN = 32
"""Texts with more surely exceed the room and are not tokenized."""


def excerpts(
    texts: Sequence[str], spans: Sequence[tuple[int, Span]], count: Callable[[str], int], room: int
) -> list[str]:
    """Each text, whole if all of them fit into `room` tokens; else an excerpt with `[…]` for what was left out.

    `spans` are passages, best first: the index of a text, and from where to where. They grow in turns, each by the
    nearest sentence, while there is room. A text without a passage is read from both of its ends.
    """
    if sum(map(len, texts)) <= room * CHARACTERS_PER_TOKEN and sum(map(count, texts)) <= room:
        return list(texts)
    found = {which for which, _ in spans}
    ends = [(n, (end, end)) for n, text in enumerate(texts) if n not in found for end in (0, len(text))]
    room -= (len(spans) + len(ends) + len(texts)) * count(f" {CUT} ")
    parts = [list(sentences(text)) for text in texts]
    taken: list[set[Span]] = [set() for _ in texts]
    growing = [(which, _nearest_first(parts[which], span)) for which, span in [*spans, *ends]]
    while growing:
        grown = []
        for which, order in growing:
            part = next((part for part in order if part not in taken[which]), None)
            if part is None:
                continue
            start, end = part
            tokens = count(texts[which][start:end])
            if tokens <= room:
                grown.append((which, order))
            elif room > 0 and not any(taken):
                part, tokens = (start, start + (end - start) * room // tokens), room
            else:
                continue
            taken[which].add(part)
            room -= tokens
        growing = grown
    return [_joined(text, sorted(each)) for text, each in zip(texts, taken, strict=True)]


def _nearest_first(parts: Sequence[Span], span: Span) -> Iterator[Span]:
    """Sentences by their distance from a passage, so that those taken are always one stretch."""
    return iter(sorted(parts, key=lambda part: max(part[0] - span[1], span[0] - part[1], -1)))


def _joined(text: str, parts: Sequence[Span]) -> str:
    """The parts of a text, with a mark wherever words are left out."""
    said, at = "", 0
    for start, end in [*parts, (len(text), len(text))]:
        between = text[at:start]
        said += (f" {CUT} " if between.strip() else between) + text[start:end]
        at = end
    return said.strip()
