"""What was said to be saved, what was removed on purpose, and where it is now. Each text holds a word of its own."""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from app.client import Client

_WORD = re.compile(r"w\d{6}é[0-9a-f]{6}")
_FORMS = re.compile(rb"(w\d{6})(?:\xc3\xa9|\\u00e9|\\\\u00e9|\\xe9|\\xc3\\xa9|\xe9\x00|\xe9)([0-9a-f]{6})")
"""A word as it is in UTF-8, and as JSON and Python write it."""
MOST_CHANGES = 8
"""Of one record, by the commands and imports; the interfaces make more. Only the last 20 revisions are kept."""


def words_in(text: str) -> set[str]:
    return set(_WORD.findall(text))


def words_in_file(path: Path) -> set[str]:
    return {f"{found[1].decode()}é{found[2].decode()}" for found in _FORMS.finditer(path.read_bytes())}


@dataclass(slots=True)
class Record:
    """Used by several threads."""

    done: Counter[str] = field(default_factory=Counter)
    """Operations by kind, with those that were refused or not answered."""
    saved: dict[str, str] = field(default_factory=dict)
    """Each word that was said to be saved, with who said so and when."""
    removed: set[str] = field(default_factory=set)
    """The words of the records that were removed from the trash."""
    problems: list[str] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    """Changes of each record by commands and imports."""
    purging: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    began: float = field(default_factory=time.monotonic)
    _number: int = 0

    def word(self) -> str:
        with self.lock:
            self._number += 1
            return f"w{self._number:06}é{secrets.token_hex(3)}"

    def count(self, kind: str) -> None:
        with self.lock:
            self.done[kind] += 1

    def say_saved(self, who: str, *words: str) -> None:
        with self.lock:
            self.saved |= {word: f"{who}, after {time.monotonic() - self.began:.0f} s" for word in words}

    def may_change(self, id_: str) -> bool:
        with self.lock:
            self.changes[id_] += 1
            return self.changes[id_] <= MOST_CHANGES

    def begin_purge(self, id_: str, texts: Iterable[str]) -> None:
        """From now on its words may be gone. Nothing else is done to it by commands."""
        with self.lock:
            self.purging.add(id_)
            for text in texts:
                self.removed |= words_in(text)


@dataclass(frozen=True, slots=True)
class Kept:
    """The words in the library and in its trash, and the records with as many revisions as are kept."""

    words: set[str]
    full: int


def kept(client: Client) -> Kept:
    """All words that can be found by a person: in entries and conversations, their revisions, and the trash."""
    conversations = client.conversations.conversations()
    entries = client.journal.entries()
    texts = [entry.text for entry in entries]
    for conversation in conversations:
        texts += [conversation.title, *(message.text for message in client.conversations.messages(conversation.id))]
    full = 0
    for id_ in [*(each.id for each in entries), *(each.id for each in conversations)]:
        revisions = client.history.revisions(id_)
        texts += [revision.text for revision in revisions]
        full += len(revisions) >= 20
    for item in client.trash.items():
        texts += client.trash.texts(item.id)
    return Kept(words_in("\n".join(texts)), full)


def found_in_files(home: Path, words: set[str]) -> dict[str, set[str]]:
    """The files below a folder that hold one of the words, with these."""
    found = {}
    for folder, _, names in os.walk(home):
        for path in (Path(folder) / name for name in names):
            if path.is_file() and not path.is_symlink() and (held := words_in_file(path) & words):
                found[str(path.relative_to(home))] = held
    return found
