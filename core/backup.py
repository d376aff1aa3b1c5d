"""The whole library as a folder of Markdown and JSON, and back.

`library.json` alone is read by an import: one JSON document with one conversation or entry per line, so that a library
of any size is read and written line by line. It is replaced last and in one step, so an export is the old one or the
new one. The Markdown files are for people.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import IO, TYPE_CHECKING, Any, Final

from core.errors import CharlieError
from core.library import ENTRIES, Conversation, Entry, Library, Restored, StoredMessage
from core.markdown import markdown_of, markdown_of_entry, slug
from core.text import clean

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import TypeAdapter

FORMAT: Final = 1
LIBRARY: Final = "library.json"
PART: Final = ".library.json.part"
CONVERSATIONS_FOLDER: Final = "conversations"
ENTRIES_FOLDER: Final = "entries"
FIRST: Final = '{"charlie_export": '
WRITTEN: Final = re.compile(r"\d{4}-\d\d-\d\d-.*[0-9a-f]{22}\.md|\..*\.md\.part")
"""The names of the Markdown files that an export writes; no others are ever removed."""
ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
LAST_SECOND: Final = 253_402_300_800
"""The year 10000, where calendars end."""
BATCH: Final = 200
BATCH_CHARACTERS: Final = 4_000_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Exported:
    conversations: int
    messages: int
    entries: int


@dataclass(slots=True)
class Imported:
    """What an import did: how many of each, and the entries that have to be read in, with the renewed ones first."""

    conversations: dict[Restored, int] = field(default_factory=lambda: dict.fromkeys(Restored, 0))
    entries: dict[Restored, int] = field(default_factory=lambda: dict.fromkeys(Restored, 0))
    renewed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Talk:
    """A conversation with its turns, as an export holds it."""

    conversation: Conversation
    messages: list[StoredMessage]


class _DamagedError(Exception):
    """What is wrong with an export, as the end of a sentence."""


def export_library(library: Library, folder: Path, on_progress: Progress | None = None) -> Exported:
    """Write the whole library into `folder`, private to the user; an earlier export in it is renewed.

    `on_progress(done, total)` counts conversations and entries. Raises CharlieError when the folder holds anything
    else, or cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_target(folder)
        with _part(folder) as file:
            return _Writer(library, folder, file, on_progress or _no_report).write()
    except OSError as error:
        raise CharlieError(
            f"The export into {folder} failed: {error.strerror or error}.",
            "Make room or name another folder; an earlier export in it is still whole.",
        ) from error


def import_library(library: Library, folder: Path, on_progress: Progress | None = None) -> Imported:
    """Bring back what an export holds. All of it is checked before anything is written; a second time changes nothing.

    Of an entry or conversation that is there already the later text stays. `on_progress(done, total)` counts bytes.
    Raises CharlieError when the folder is not a whole export.
    """
    path = folder / LIBRARY
    try:
        if not path.is_file():
            raise CharlieError(f"The folder {folder} is not an export.", f"An export has a file {LIBRARY}.")
        with path.open("rb") as file:
            for _ in _items(file):
                pass
            file.seek(0)
            return _restore(library, file, on_progress or _no_report)
    except _DamagedError as error:
        raise CharlieError(
            f"The export {path} cannot be read in: {error}.", "Nothing was changed; export again, or take another copy."
        ) from error
    except OSError as error:
        raise CharlieError(
            f"The export {path} cannot be read: {error.strerror or error}.", "Check its permissions."
        ) from error


def _check_target(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    if not names or PART in names or _is_ours(folder / LIBRARY):
        return
    raise CharlieError(
        f"The folder {folder} is not empty and not an earlier export.", "Name a new folder, or an earlier export."
    )


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(FIRST)) == FIRST.encode()


@contextmanager
def _part(folder: Path) -> Iterator[IO[bytes]]:
    """The file that is going to be `library.json`. It is there first: an export that was cut off can be begun anew."""
    path = folder / PART
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b") as file:
        if not _hold(file, path):
            raise CharlieError(f"Another export into {folder} is under way.", "Wait for its end.")
        os.fchmod(file.fileno(), 0o600)
        file.truncate()
        yield file
        file.flush()
        # The Markdown files are too many to be waited for one by one; all must be on disk before this one counts.
        os.sync()
        os.fsync(file.fileno())
        path.replace(folder / LIBRARY)
    _sync_folder(folder)


def _hold(file: IO[bytes], path: Path) -> bool:
    """Take the file for this export alone; False when another has it, or has made it its `library.json` just now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except (BlockingIOError, FileNotFoundError):
        return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Writer:
    """One export under way."""

    def __init__(self, library: Library, folder: Path, file: IO[bytes], on_progress: Progress) -> None:
        self._library = library
        self._folder = folder
        self._file = file
        self._on_progress = on_progress
        self._digest = hashlib.sha256()
        self._names: dict[str, set[str]] = {}

    def write(self) -> Exported:
        self._put(f"{FIRST}{FORMAT},\n")
        self._file.flush()
        for name in (CONVERSATIONS_FOLDER, ENTRIES_FOLDER):
            (self._folder / name).mkdir(mode=0o700, exist_ok=True)
            self._names[name] = set()
        talks = sorted(self._library.conversations(), key=lambda each: each.id)
        ids = self._library.redis.zrange(ENTRIES, 0, -1)
        total = len(talks) + len(ids)
        messages = entries = 0
        self._put(f'"exported": {time.time()!r},\n"conversations": [')
        for number, conversation in enumerate(talks):
            self._on_progress(number, total)
            turns = self._library.messages(conversation.id)
            self._item(asdict(_Talk(conversation, turns)), first=number == 0)
            name = _name(conversation.created, conversation.title, conversation.id)
            self._markdown(CONVERSATIONS_FOLDER, name, markdown_of(conversation, turns))
            messages += len(turns)
        self._put('\n],\n"entries": [')
        for id_ in ids:
            for entry in self._library.entries_of([id_]):  # none when it was deleted meanwhile
                self._on_progress(len(talks) + entries, total)
                self._item(asdict(entry), first=entries == 0)
                name = _name(entry.created, entry.title, entry.id)
                self._markdown(ENTRIES_FOLDER, name, markdown_of_entry(entry))
                entries += 1
        self._put("\n],\n")
        self._file.write(f'"sha256": "{self._digest.hexdigest()}"}}\n'.encode())
        self._remove_old()
        return Exported(len(talks), messages, entries)

    def _put(self, text: str) -> None:
        data = clean(text).encode()
        self._digest.update(data)
        self._file.write(data)

    def _item(self, data: dict[str, Any], *, first: bool) -> None:
        self._put(("\n" if first else ",\n") + json.dumps(data, ensure_ascii=False))

    def _markdown(self, folder: str, name: str, text: str) -> None:
        path, part, data = self._folder / folder / name, self._folder / folder / f".{name}.part", text.encode()
        self._names[folder].add(name)
        if path.is_file() and not path.is_symlink() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return  # most of an earlier export is as it was, and reading is much faster than writing
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        part.replace(path)

    def _remove_old(self) -> None:
        """Take away what an earlier export wrote of things that are gone or have another title now."""
        for folder, names in self._names.items():
            for path in (self._folder / folder).iterdir():
                if path.name not in names and WRITTEN.fullmatch(path.name):
                    path.unlink()


def _name(created: float, title: str, id_: str) -> str:
    return f"{time.strftime('%Y-%m-%d', time.localtime(created))}-{slug(title)}-{id_}.md".replace("--", "-")


def _restore(library: Library, file: IO[bytes], on_progress: Progress) -> Imported:
    total = os.fstat(file.fileno()).st_size
    done = Imported()
    batch: list[Entry] = []

    def flush() -> None:
        for entry, restored in zip(batch, library.restore_entries(batch), strict=True):
            done.entries[restored] += 1
            if restored is Restored.ADDED:
                done.added.append(entry.id)
            elif restored is Restored.RENEWED:
                done.renewed.append(entry.id)
        batch.clear()

    for item in _items(file):
        on_progress(file.tell(), total)
        if isinstance(item, _Talk):
            done.conversations[library.restore_conversation(item.conversation, item.messages)] += 1
            continue
        batch.append(item)
        if len(batch) == BATCH or sum(len(entry.text) for entry in batch) > BATCH_CHARACTERS:
            flush()
    flush()
    return done


def _items(file: IO[bytes]) -> Iterator[_Talk | Entry]:
    """Everything an export holds, each checked. Raises _DamagedError, perhaps only at the end, where the sum is."""
    digest = hashlib.sha256()
    seen: set[str] = set()

    def line() -> bytes:
        read = file.readline()
        digest.update(read)
        return read.rstrip(b"\n")

    first = file.readline(len(FIRST) + 20)
    digest.update(first)
    made = re.fullmatch(rf"{re.escape(FIRST)}(\d{{1,9}}),\n", first.decode("ascii", "replace"))
    if made is None:
        raise _DamagedError("it was not made by Charlie, or its beginning is damaged")
    if int(made[1]) > FORMAT:
        raise _DamagedError("it was made by a later version of Charlie")
    line()  # when it was exported
    for heading, read in ((b'"conversations": [', _talk), (b'"entries": [', _entry)):
        if line() != heading:
            raise _DamagedError("it is cut off or damaged")
        while (text := line()) != b"],":
            if not text:
                raise _DamagedError("it is cut off")
            item = read(_parse(text.removesuffix(b",")))
            id_ = item.conversation.id if isinstance(item, _Talk) else item.id
            if id_ in seen:
                raise _DamagedError(f"it holds {id_} twice")
            seen.add(id_)
            yield item
    if file.readline().rstrip(b"\n") != f'"sha256": "{digest.hexdigest()}"}}'.encode() or file.read(1):
        raise _DamagedError("its text and its checksum do not agree")


def _parse(text: bytes) -> Any:
    try:
        data = json.loads(text)
        # Charlie escapes controls alone; an escaped half of a pair is none and could not be stored.
        return json.loads(clean(json.dumps(data, ensure_ascii=False))) if b"\\u" in text else data
    except (ValueError, RecursionError) as error:
        raise _DamagedError("a line of it is damaged") from error


def _talk(data: Any) -> _Talk:
    talk: _Talk = _validated(_Talk, data)
    own = talk.conversation
    _check_plain([own.id, *(each.id for each in talk.messages)], [own.created, own.updated])
    _check_plain([], [each.at for each in talk.messages])
    return talk


def _entry(data: Any) -> Entry:
    entry: Entry = _validated(Entry, data)
    _check_plain([entry.id], [entry.created, entry.updated])
    return entry


@cache
def _adapters() -> dict[type[Any], TypeAdapter[Any]]:
    from pydantic import TypeAdapter

    return {kind: TypeAdapter(kind) for kind in (_Talk, Entry)}


def _validated(kind: type[Any], data: Any) -> Any:
    from pydantic import ValidationError

    try:
        return _adapters()[kind].validate_python(data)
    except ValidationError as error:
        raise _DamagedError("a line of it is not what an export holds") from error


def _check_plain(ids: list[str], times: list[float]) -> None:
    """Ids become names of keys, times become dates."""
    if not all(ID.fullmatch(id_) for id_ in ids) or not all(0 <= at < LAST_SECOND for at in times):
        raise _DamagedError("a line of it has an id or a time that cannot be")


def _no_report(done: int, total: int) -> None:  # noqa: ARG001
    return
