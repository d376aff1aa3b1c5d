"""The text of an entry while it is written, and how it is saved."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.client import Client
from app.library_changes import new_entry, write_entry
from core.errors import NotFoundError
from core.library.records import Entry
from core.text import new_id

PLACE = "entry:"
"""Prefix of an entry's place among the drafts; its id follows."""


@dataclass
class Draft:
    """The text being written, and its entry as last saved (None: not saved yet)."""

    entry: Entry | None
    text: str
    id: str = field(default_factory=new_id)
    """The id of its future entry, so that a repeated save does not make a second one."""
    writer: str = field(default_factory=new_id)
    saved: str = field(init=False)
    """The text that the database has, as the editor shows it."""
    base: int = field(init=False)
    """The revision that the text changes."""
    place: str = field(init=False)
    """Where an unsaved text is kept."""

    def __post_init__(self) -> None:
        self.saved = self.text
        self.base = self.entry.revision if self.entry else 0
        self.place = PLACE + (self.entry.id if self.entry else self.id)

    @property
    def dirty(self) -> bool:
        return self.text != self.saved

    def mark_saved(self, entry: Entry | None, text: str) -> None:
        self.saved = text
        if entry is None:
            return
        if self.entry is None or self.entry.id != entry.id:
            self.id = new_id()
        self.entry = entry
        self.base = entry.revision


def write(client: Client, draft: Draft, text: str) -> Entry | None:
    """Save the text of a draft; None for a new entry without text. A deleted entry becomes a new one."""
    if draft.entry is None:
        return new_entry(client, text, draft.id, draft.writer) if text.strip() else None
    try:
        return write_entry(client, draft.entry.id, text, draft.base, draft.writer)
    except NotFoundError:
        return new_entry(client, text, draft.id, draft.writer)


def conflict(draft: Draft, entry: Entry) -> str:
    """What the person must know of a save, before it is marked; empty when nobody else wrote the entry."""
    if draft.entry is None:
        return ""
    if draft.entry.id != entry.id:
        return f"“{draft.entry.title}” was deleted elsewhere. Your text is kept as a new entry."
    if entry.revision > draft.base + 1:
        return f"“{entry.title}” was changed elsewhere too. That text is kept: ^G shows it, or h in the list."
    return ""


def unsaved(client: Client, draft: Draft) -> str:
    """What the person must know of a text that could not be saved at the end: its file, or else the text itself."""
    kept = client.drafts.take(draft.place)
    if kept is None or kept.text != draft.text:
        return f"An entry could not be saved, nor kept in a file. Its text:\n{draft.text}"
    file = client.drafts.file(draft.place)
    return f"An entry could not be saved. Its text is kept in {file}, and the journal restores it."
