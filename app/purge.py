"""What leaves the trash leaves everything: the records, and all that was made of them or quotes them.

Its KV caches have gone before, when app/library_changes.py moved it to the trash.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.client import Client
from core.database import keys
from core.library.backups import Backups
from core.library.journal import JOURNAL
from core.llama.session_files import forget

LINE = 12
"""A log line quotes a text when it holds one of its lines, if this has so many characters, or the whole text."""
SHORT = 4
"""Shorter texts are not looked for in the logs: they stand in every log."""
HEAD = 40
"""Characters of a line that are looked for: a log may cut what it quotes."""
REMOVED = b"(removed)"


@dataclass(frozen=True, slots=True)
class Purged:
    """The number of removed records, and the names of the backups that still hold one of them."""

    count: int
    backups: tuple[str, ...]


def purge(client: Client, ids: Sequence[str]) -> Purged:
    """Remove deleted records for good. The records themselves go last, so that an interrupted purge can be repeated.

    The database file holds them until it is rewritten; see app/runtime/upkeep.py.
    """
    if not ids:
        return Purged(0, ())
    remove_quotes(client.paths.logs, [text for id_ in ids for text in client.trash.texts(id_)])
    client.jobs.forget_ended()
    client.jobs.unpark(*ids)
    live = client.redis.mget([key(id_) for id_ in ids for key in (keys.entry, keys.conversation)])  # imported again
    gone = [
        id_ for id_, entry, conversation in zip(ids, live[::2], live[1::2], strict=True) if not (entry or conversation)
    ]
    client.drafts.forget(*gone)
    for index in client.redis.smembers(keys.INDEXES) if gone else ():
        client.redis.hdel(index, *gone)
    for prefix in (JOURNAL, *(f"{id_}." for id_ in gone)):
        forget(client.paths.sessions, prefix)
    return Purged(client.trash.purge(ids), Backups(client.paths.backups).holding(ids))


def remove_quotes(folder: Path, texts: Iterable[str]) -> None:
    """Overwrite the log lines that quote a text. The files keep their length, since other processes append to them."""
    quotes = _Quotes(texts)
    for path in folder.glob("*.log"):
        with path.open("rb") as lines, path.open("r+b") as file:
            at = 0
            for line in lines:
                if quotes.are_in(line):
                    length = len(line.rstrip(b"\n"))
                    file.seek(at)
                    file.write(REMOVED.ljust(length)[:length])
                at += len(line)
            file.flush()
            os.fsync(file.fileno())


class _Quotes:
    """Finds quotes of many texts in a line, in one pass over it."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._by_head = defaultdict[bytes, list[bytes]](list)
        short = set[bytes]()
        for text in set(texts):
            for form in _forms(text):
                if len(form) >= LINE:
                    self._by_head[form[:LINE]].append(form)
                else:
                    short.add(re.escape(form))
        self._short = re.compile(rb"(?<!\w)(?:%b)(?!\w)" % b"|".join(short)) if short else None

    def are_in(self, line: bytes) -> bool:
        if self._short and self._short.search(line):
            return True
        heads = (self._by_head.get(line[at : at + LINE], ()) for at in range(len(line) - LINE + 1))
        return any(form in line for forms in heads for form in forms)


def _forms(text: str) -> Iterator[bytes]:
    """The parts of a text that a quote of it holds, as written, in JSON and in Python's notation."""
    whole = text.strip()
    for part in {whole, *(line for each in text.splitlines() if len(line := each.strip()) >= LINE)}:
        head = part[:HEAD]
        if len(head) >= SHORT:
            notations = (head, json.dumps(head)[1:-1], json.dumps(head, ensure_ascii=False)[1:-1], repr(head)[1:-1])
            yield from {each.encode("utf-8", "backslashreplace") for each in notations}
