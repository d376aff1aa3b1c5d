"""The records of jobs and of their output."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.events.types import JobKind, JobState
from core.library.records import decode
from core.llama.thoughts import Thought

__all__ = ["Ended", "Hit", "Hits", "Job", "Output", "Piece", "Text", "Thought"]


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work for the worker. `args` are plain JSON; times are seconds since the epoch."""

    id: str
    kind: JobKind
    args: dict[str, Any]
    subject: str = ""
    state: JobState = JobState.QUEUED
    attempts: int = 0
    enqueued: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of a completion."""

    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry found by a search: the best passage, its cosine similarity, and its relevance (0 to 1)."""

    entry: str
    title: str
    chunk: str
    similarity: float
    relevance: float | None = None
    start: int = 0
    """The passage's first character in the entry's text."""
    mark: tuple[int, int] = (0, 0)
    """The sentence of the passage that matches best: from, to."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The hits of a search: first by similarity, then again as the reranker sorts them."""

    hits: tuple[Hit, ...]
    reranked: bool


def citations(hits: Sequence[Hit], cited: Collection[int] = ()) -> list[dict[str, Any]]:
    """The passages that a question is answered from, best first, and which of them the answer cites.

    Numbered by the entries' ids and not by rank: questions about the same entries share the beginning of their prompts.
    """
    numbers = {entry: number for number, entry in enumerate(sorted({hit.entry for hit in hits}), start=1)}
    return [asdict(hit) | {"number": numbers[hit.entry], "cited": numbers[hit.entry] in cited} for hit in hits]


@dataclass(frozen=True, slots=True)
class Ended:
    """The last record of each output."""

    state: JobState
    result: dict[str, Any] | None = None
    error: str = ""
    hint: str = ""


Piece = Thought | Text | Hits
Output = Piece | Ended


def encode_output(output: Output) -> str:
    return json.dumps({"kind": type(output).__name__, **asdict(output)}, ensure_ascii=False)


def decode_output(text: str) -> Output:
    kinds: dict[str, type[Output]] = {kind.__name__: kind for kind in (Thought, Text, Hits)}
    return decode(kinds.get(json.loads(text)["kind"], Ended), text)
