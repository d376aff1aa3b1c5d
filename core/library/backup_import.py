"""Imports an export. The whole file is checked before anything is written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from pydantic import TypeAdapter, ValidationError

from core.errors import CharlieError
from core.library.backup_format import FIRST_LINE, FORMAT_VERSION, LIBRARY_FILE, ConversationRecord, Library, Progress
from core.library.records import Entry, Restored
from core.text import clean

SAFE_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
YEAR_1, YEAR_10000 = -62_135_510_400, 253_402_300_800
"""The first day and the end of the calendars, in seconds."""
BATCH_ENTRIES: Final = 200
BATCH_CHARACTERS: Final = 4_000_000
CONVERSATION_RECORDS: Final = TypeAdapter(ConversationRecord)
ENTRY_RECORDS: Final = TypeAdapter(Entry)


@dataclass(slots=True)
class Imported:
    """The outcome of an import: counts, changes, and the ids of the entries that must be indexed again."""

    conversations: dict[Restored, int] = field(default_factory=lambda: dict.fromkeys(Restored, 0))
    entries: dict[Restored, int] = field(default_factory=lambda: dict.fromkeys(Restored, 0))
    renewed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    changes: list[tuple[Restored, str, str]] = field(default_factory=list)
    """Outcome, id and title of each record that was added or renewed."""

    def count(self, counts: dict[Restored, int], outcome: Restored, id_: str, title: str) -> None:
        counts[outcome] += 1
        if outcome in (Restored.ADDED, Restored.RENEWED):
            self.changes.append((outcome, id_, title))


class _DamagedExportError(Exception):
    """The damage, as the end of a sentence."""


def import_library(
    library: Library,
    folder: Path,
    on_progress: Progress = lambda _done, _total: None,
    *,
    backup: bool = False,
    dry_run: bool = False,
) -> Imported:
    """Restore an export, keeping the newer text of each record. A second import changes nothing.

    With `backup`, its texts of entries win, and the texts here become revisions. With `dry_run`, nothing is changed.
    `on_progress` counts records. Raises CharlieError when the folder is not a whole export; nothing is then changed.
    """
    total = sum(1 for _ in read_export(folder))
    done = Imported()
    batch: list[Entry] = []

    def restore_batch() -> None:
        restored = library.journal.restore_entries(batch, overwrite=backup, dry_run=dry_run)
        for entry, outcome in zip(batch, restored, strict=True):
            done.count(done.entries, outcome, entry.id, entry.title)
            if outcome is Restored.ADDED:
                done.added.append(entry.id)
            elif outcome is Restored.RENEWED:
                done.renewed.append(entry.id)
        batch.clear()

    for number, record in enumerate(read_export(folder)):
        on_progress(number, total)
        if isinstance(record, ConversationRecord):
            own = record.conversation
            outcome = library.conversations.restore_conversation(own, record.messages, dry_run=dry_run)
            done.count(done.conversations, outcome, own.id, own.title)
            continue
        batch.append(record)
        if len(batch) == BATCH_ENTRIES or sum(len(entry.text) for entry in batch) > BATCH_CHARACTERS:
            restore_batch()
    restore_batch()
    return done


def read_export(folder: Path) -> Iterator[ConversationRecord | Entry]:
    """The records of an export. Raises CharlieError when it is not whole, for a wrong checksum only at its end."""
    path = folder / LIBRARY_FILE
    try:
        if not path.is_file():
            raise CharlieError(f"The folder {folder} is not an export.", f"An export has a file {LIBRARY_FILE}.")
        with path.open("rb") as file:
            yield from _records(file)
    except _DamagedExportError as error:
        raise CharlieError(
            f"The export {path} cannot be imported: {error}.",
            "Nothing was changed; export again, or take another copy.",
        ) from error
    except OSError as error:
        raise CharlieError(
            f"The export {path} cannot be read: {error.strerror or error}.", "Check its permissions."
        ) from error


def _records(file: IO[bytes]) -> Iterator[ConversationRecord | Entry]:
    """Every record, checked. Raises _DamagedExportError, for a wrong checksum only after the last record."""
    digest = hashlib.sha256()
    seen: set[str] = set()

    def line() -> bytes:
        read = file.readline()
        digest.update(read)
        return read.rstrip(b"\n")

    first = file.readline(len(FIRST_LINE) + 20)
    digest.update(first)
    version = re.fullmatch(rf"{re.escape(FIRST_LINE)}(\d{{1,9}}),\n", first.decode("ascii", "replace"))
    if version is None:
        raise _DamagedExportError("it was not made by Charlie, or its beginning is damaged")
    if int(version[1]) > FORMAT_VERSION:
        raise _DamagedExportError("it was made by a later version of Charlie")
    line()  # the time of the export, and its schema version
    for heading, kind in ((b'"conversations": [', CONVERSATION_RECORDS), (b'"entries": [', ENTRY_RECORDS)):
        if line() != heading:
            raise _DamagedExportError("it is cut off or damaged")
        while (text := line()) != b"],":
            if not text:
                raise _DamagedExportError("it is cut off")
            id_, record = _record(kind, text.removesuffix(b","))
            if id_ in seen:
                raise _DamagedExportError(f"it holds {id_} twice")
            seen.add(id_)
            yield record
    if file.readline().rstrip(b"\n") != f'"sha256": "{digest.hexdigest()}"}}'.encode() or file.read(1):
        raise _DamagedExportError("its text does not match its checksum")


def _record(kind: TypeAdapter[Any], text: bytes) -> tuple[str, ConversationRecord | Entry]:
    """One checked record, and its id."""
    try:
        data = json.loads(text)
        # An export escapes only control characters. Another program may have escaped a lone surrogate, which cannot
        # be stored.
        data = json.loads(clean(json.dumps(data, ensure_ascii=False))) if b"\\u" in text else data
        record: ConversationRecord | Entry = kind.validate_python(data)
    except ValidationError as error:
        raise _DamagedExportError("one line is not a record of Charlie") from error
    except (ValueError, RecursionError) as error:
        raise _DamagedExportError("one line is damaged") from error
    own, messages = (record, []) if isinstance(record, Entry) else (record.conversation, record.messages)
    ids = [own.id, *(each.id for each in messages)]
    times = [own.created, own.updated, *(each.at for each in messages)]
    # Ids become parts of Redis keys, times become dates.
    if not all(SAFE_ID.fullmatch(id_) for id_ in ids) or not all(YEAR_1 <= at < YEAR_10000 for at in times):
        raise _DamagedExportError("one line has an impossible id or time")
    return own.id, record
