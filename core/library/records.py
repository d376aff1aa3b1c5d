"""The records of conversations and of the journal."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from core.text import contains, first_clause

if TYPE_CHECKING:
    from pydantic import TypeAdapter

TITLE_WIDTH = 60
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?=[\w-]+:)(?:(?:[\w-]+:|[ \t#-]).*\n|\n)*?---[ \t]*(?:\n|\Z)")
"""YAML that other programs write before a text."""
Record = TypeVar("Record")


class MessageState(StrEnum):
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One turn. `stats` is the JSON object of `charlie ask --json` less the texts; None for what a person wrote."""

    id: str
    role: Literal["user", "assistant"]
    text: str
    at: float = field(default_factory=time.time)
    state: MessageState = MessageState.COMPLETE
    stats: dict[str, Any] | None = None
    reasoning: str = ""
    """The thought before a reply."""


@dataclass(frozen=True, slots=True)
class Conversation:
    id: str
    title: str
    created: float
    updated: float


class EntryState(StrEnum):
    """The state of an entry in the index. The values are stored, so they keep the words of earlier versions."""

    SAVED = "saved"
    INDEXING = "reading"
    INDEXED = "findable"
    FAILED = "failed"
    SKIPPED = "dropped"
    """Indexing failed and the person skipped the entry: it is saved, but neither retried nor searchable."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A journal entry. `revision` grows with each change of the text; `ingested` is the indexed revision."""

    id: str
    text: str
    created: float
    updated: float
    revision: int = 1
    ingested: int = 0
    state: EntryState = EntryState.SAVED
    error: str = ""
    mood: str = ""
    """One of `core.programs.feelings.MOODS`; empty until it is indexed."""
    suggested_title: str = ""
    """A title that a model gave this revision; empty without one."""
    zone: str = ""
    """The name of the time zone in which it was written; empty in entries of earlier versions."""
    writer: str = ""
    """The editor or command that wrote this revision."""
    tags: tuple[str, ...] = ()
    starred: bool = False
    mood_by: Literal["", "person"] = ""
    """Who set the mood: one that a person set stays."""
    distress: bool = False
    """Whether this revision speaks of it: the line of `support.line` is shown."""

    @property
    def title(self) -> str:
        front = _FRONT_MATTER.match(self.text)
        return first_clause(self.text[front.end() :] if front else self.text, TITLE_WIDTH) or "Untitled"


class RevisionKind(StrEnum):
    TEXT = "text"
    """An earlier text of an entry."""
    TITLE = "title"
    """An earlier title of a conversation."""
    REPLY = "reply"
    """A reply that another one replaced."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A text that was replaced. `at` and `replaced` are seconds since the epoch."""

    id: str
    kind: RevisionKind
    text: str
    at: float
    """When it was written."""
    replaced: float
    message: str = ""
    """The id of the replaced reply."""
    reasoning: str = ""
    """The thought before it."""


class Restored(StrEnum):
    """The outcome for one record of an import."""

    ADDED = "added"
    RENEWED = "renewed"
    """The export had the later text, which replaced the one here."""
    SAME = "same"
    KEPT = "kept"
    """The one here is later, and stays."""


def later(now: float, than: float) -> float:
    """`now`, or a microsecond after `than` when the clock was set back: an import keeps the later record."""
    return max(now, than + 1e-6)


def decode(kind: type[Record], text: str) -> Record:
    """A stored record. Fields that this version does not know are ignored, absent ones have their defaults."""
    known: Any = kind
    record: Record = _adapter(known).validate_python(json.loads(text))
    return record


def encode(record: Any) -> str:
    """A record, which is a dataclass, as it is stored."""
    return json.dumps(asdict(record))


def batches(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    """The ids in lists of `size`; the last one may be shorter."""
    return (list(ids[start : start + size]) for start in range(0, len(ids), size))


def has_text(stored: str, wanted: str) -> bool:
    """Whether the text of a stored record contains the folded text `wanted`."""
    if "\\u" not in stored and json.dumps(wanted)[1:-1] not in stored.lower():
        return False  # a text in ASCII, known without reading the JSON
    from pydantic_core import from_json  # the interface's first screen does not wait for it

    return not wanted or contains(from_json(stored)["text"], wanted)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made when it is first needed, since that takes milliseconds."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
