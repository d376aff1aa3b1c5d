"""Exports the whole library as a folder of Markdown and JSON.

`library.json` is replaced last and in one step, so the export in a folder is the old one or the new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from core.database import keys
from core.database.schema import SCHEMA
from core.errors import CharlieError
from core.figures import local_time
from core.files import write_atomically
from core.library.backup_format import FIRST_LINE, FORMAT_VERSION, LIBRARY_FILE, ConversationRecord, Library, Progress
from core.library.journal import PAGE_ENTRIES
from core.library.markdown import markdown_of, markdown_of_entry, slug
from core.library.records import Entry, Record, batches
from core.text import clean

UNFINISHED_FILE: Final = ".library.json.part"
CONVERSATIONS_FOLDER: Final = "conversations"
ENTRIES_FOLDER: Final = "entries"
EXPORTED_NAME: Final = re.compile(r"(?:\d{4}-\d\d-\d\d|undated)-.*[0-9a-f]{22}\.md|\..*\.md\..*part")
"""The names of the Markdown files that an export writes; no other file is ever removed."""


@dataclass(frozen=True, slots=True)
class Exported:
    """How many records an export holds."""

    conversations: int
    messages: int
    entries: int


def export_library(
    library: Library, folder: Path, on_progress: Progress = lambda _done, _total: None, *, markdown: bool = True
) -> Exported:
    """Write the whole library into `folder`, private to the user; an earlier export in it is updated.

    `on_progress` counts conversations and entries. Without `markdown`, only `library.json` is written, which takes
    a tenth of the time. Raises CharlieError when the folder holds other files, or cannot be written.
    """
    conversations = sorted(library.conversations.conversations(), key=lambda each: each.id)
    ids = library.journal.redis.zrange(keys.ENTRIES, 0, -1)
    total = len(conversations) + len(ids)

    def counted(records: Iterable[Record], start: int) -> Iterator[Record]:
        for number, record in enumerate(records, start):
            on_progress(number, total)
            yield record

    turns = (ConversationRecord(each, library.conversations.messages(each.id)) for each in conversations)
    entries = (entry for batch in batches(ids, PAGE_ENTRIES) for entry in library.journal.entries_of(batch))
    return export_records(counted(turns, 0), counted(entries, len(conversations)), folder, markdown=markdown)


def export_records(
    conversations: Iterable[ConversationRecord], entries: Iterable[Entry], folder: Path, *, markdown: bool = True
) -> Exported:
    """Write these records into `folder`; see export_library."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_target(folder)
        with _library_file(folder, sync_all=markdown) as file:
            return _Exporter(folder, file, markdown=markdown).write(conversations, entries)
    except OSError as error:
        raise CharlieError(
            f"The export into {folder} failed: {error.strerror or error}.",
            "Make room or name another folder; an earlier export in it is still whole.",
        ) from error


def _check_target(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    if not names or UNFINISHED_FILE in names:
        return
    if (path := folder / LIBRARY_FILE).is_file():
        with path.open("rb") as file:
            if file.read(len(FIRST_LINE)) == FIRST_LINE.encode():
                return
    raise CharlieError(
        f"The folder {folder} is not empty and not an earlier export.", "Name a new folder, or an earlier export."
    )


@contextmanager
def _library_file(folder: Path, *, sync_all: bool) -> Iterator[IO[bytes]]:
    """The new `library.json`, locked against other exports, under a temporary name until all is on the disk.

    It is the first file of an export, so its name marks the folder of an interrupted export as ours.
    """
    path = folder / UNFINISHED_FILE
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except (BlockingIOError, FileNotFoundError):
            locked = False
        if not locked:  # another export holds it, or has just renamed it to `library.json`
            raise CharlieError(f"Another export into {folder} is under way.", "Wait until it has ended.")
        os.fchmod(file.fileno(), 0o600)
        file.truncate()
        yield file
        file.flush()
        if sync_all:
            os.sync()  # also the Markdown files, which are too many to sync one by one
        os.fsync(file.fileno())
        path.replace(folder / LIBRARY_FILE)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Exporter:
    """Writes one export."""

    def __init__(self, folder: Path, file: IO[bytes], *, markdown: bool) -> None:
        self._folder = folder
        self._file = file
        self._markdown = markdown
        self._digest = hashlib.sha256()
        self._names: dict[str, set[str]] = {CONVERSATIONS_FOLDER: set(), ENTRIES_FOLDER: set()}

    def write(self, conversations: Iterable[ConversationRecord], entries: Iterable[Entry]) -> Exported:
        self._put(f"{FIRST_LINE}{FORMAT_VERSION},\n")
        self._file.flush()
        for name in self._names if self._markdown else ():
            (self._folder / name).mkdir(mode=0o700, exist_ok=True)
        messages = 0
        self._put(f'"exported": {time.time()!r}, "schema": {SCHEMA},\n"conversations": [')
        for number, record in enumerate(conversations):
            own = record.conversation
            self._put_record(asdict(record), first=number == 0)
            name = _name(own.created, own.title, own.id)
            self._write_markdown(CONVERSATIONS_FOLDER, name, markdown_of(own, record.messages))
            messages += len(record.messages)
        self._put('\n],\n"entries": [')
        for number, entry in enumerate(entries):
            self._put_record(asdict(entry), first=number == 0)
            name = _name(entry.created, entry.title, entry.id, entry.zone)
            self._write_markdown(ENTRIES_FOLDER, name, markdown_of_entry(entry))
        self._put("\n],\n")
        self._file.write(f'"sha256": "{self._digest.hexdigest()}"}}\n'.encode())
        self._remove_outdated()
        return Exported(len(self._names[CONVERSATIONS_FOLDER]), messages, len(self._names[ENTRIES_FOLDER]))

    def _put(self, text: str) -> None:
        data = clean(text).encode()
        self._digest.update(data)
        self._file.write(data)

    def _put_record(self, data: dict[str, Any], *, first: bool) -> None:
        self._put(("\n" if first else ",\n") + json.dumps(data, ensure_ascii=False))

    def _write_markdown(self, folder: str, name: str, text: str) -> None:
        self._names[folder].add(name)
        if not self._markdown:
            return
        path, data = self._folder / folder / name, text.encode()
        if path.is_file() and not path.is_symlink() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return  # most files of an earlier export are unchanged, and reading is much faster than writing
        write_atomically(path, data, durable=False)  # `_library_file` syncs all files together

    def _remove_outdated(self) -> None:
        """Remove files of an earlier export whose record was deleted or has another title now."""
        for folder, names in self._names.items() if self._markdown else ():
            for path in (self._folder / folder).iterdir():
                if path.name not in names and EXPORTED_NAME.fullmatch(path.name):
                    path.unlink()


def _name(created: float, title: str, id_: str, zone: str = "") -> str:
    return f"{local_time(created, '%Y-%m-%d', zone)}-{slug(title)}-{id_}.md".replace("--", "-")
