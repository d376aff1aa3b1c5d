"""What a model reads of texts that are too long together: from the passages that were found outwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from core.library.chunking import Span, sentences

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
    growing = [_nearest_first(which, texts[which], span) for which, span in [*spans, *ends]]
    room -= (len(growing) + len(texts)) * count(f" {CUT} ")
    taken: list[set[Span]] = [set() for _ in texts]
    while growing:
        grown = []
        for order in growing:
            which, (start, end) = next(((n, part) for n, part in order if part not in taken[n]), (0, (0, 0)))
            tokens = count(texts[which][start:end])
            if tokens > room > 0 and not any(taken):
                end, tokens = start + (end - start) * room // tokens, room
            if end > start and tokens <= room:
                taken[which].add((start, end))
                room -= tokens
                grown.append(order)
        growing = grown
    return [_joined(text, sorted(each)) for text, each in zip(texts, taken, strict=True)]


def _nearest_first(which: int, text: str, span: Span) -> Iterator[tuple[int, Span]]:
    """The sentences of a text by their distance from a passage, so that those taken are always one stretch."""
    parts = sorted(sentences(text), key=lambda part: max(part[0] - span[1], span[0] - part[1], -1))
    return ((which, part) for part in parts)


def _joined(text: str, parts: Sequence[Span]) -> str:
    """The parts of a text, with a mark wherever words are left out."""
    said, at = "", 0
    for start, end in [*parts, (len(text), len(text))]:
        between = text[at:start]
        said += (f" {CUT} " if between.strip() else between) + text[start:end]
        at = end
    return said.strip()
