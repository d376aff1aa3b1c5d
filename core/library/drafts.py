"""Texts that were typed and not sent or saved yet. They are files, so they outlive a crash, and a lost database."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.files import PARTIAL_SUFFIX, write_atomically
from core.library.records import decode, encode

log = logging.getLogger(__name__)

CLOCK_SECONDS = 2.0
"""A process's start is known to about a second."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text at its `place`: an entry's, a conversation's or a dialog's name."""

    place: str
    text: str
    base: int = 0
    """The revision of the entry that the text changes; 0 for a new one."""


class Drafts:
    """The drafts in one folder. Two processes that write at one place keep two drafts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, place: str) -> Path:
        """The file of this process's draft at a place."""
        return self._folder / f"{hashlib.sha256(place.encode()).hexdigest()[:20]}-{os.getpid()}.json"

    def put(self, draft: Draft) -> None:
        """Store a draft, or replace this process's own at that place. Without text, it is removed.

        A failure is only logged: the text is still on the screen.
        """
        try:
            if not draft.text:
                self.file(draft.place).unlink(missing_ok=True)
                return
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.file(draft.place), encode(draft), durable=False)
        except OSError as error:
            log.warning("A draft could not be kept. %s", error.strerror)

    def take(self, place: str) -> Draft | None:
        """Take over the draft at a place from a process that has ended; it becomes this process's own."""
        own = self.file(place)
        if mine := self._read(own):
            return mine
        for path, draft in self._all():
            if draft.place == place and not _is_held(path):
                with suppress(OSError):  # another process has taken it over
                    os.utime(path)
                    path.replace(own)
                    return draft
        return None

    def places(self) -> set[str]:
        """The places with a draft that no other running process holds."""
        return {draft.place for path, draft in self._all() if not _is_held(path)}

    def forget(self, *names: str) -> None:
        """Remove the drafts of every process at the places that end with these names."""
        for path, draft in self._all():
            if draft.place.endswith(names):
                path.unlink(missing_ok=True)
        for part in self._folder.glob(f".*{PARTIAL_SUFFIX}"):  # of processes that were killed while they wrote
            if _pid(part) != os.getpid() and not _is_held(part):
                part.unlink(missing_ok=True)

    def _all(self) -> Iterator[tuple[Path, Draft]]:
        for path in sorted(self._folder.glob("*.json")):
            if (draft := self._read(path)) is not None:
                yield path, draft

    def _read(self, path: Path) -> Draft | None:
        try:
            return decode(Draft, path.read_text("utf-8"))
        except (OSError, ValueError):  # taken by another process a moment ago, or damaged
            return None


def _pid(path: Path) -> int:
    """The pid in the name of a draft or of an unfinished one; 0 without one."""
    found = re.search(r"-(\d{1,9})\.json", path.name)
    return int(found[1]) if found else 0


def _is_held(path: Path) -> bool:
    """Whether another process holds the draft: that of the pid in its name, unless it was started later."""
    pid = _pid(path)
    if pid in (0, os.getpid()):
        return False
    try:
        return psutil.Process(pid).create_time() < path.stat().st_mtime + CLOCK_SECONDS
    except (OSError, psutil.Error):
        return False
