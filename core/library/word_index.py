"""The words of all entries, in memory: finds passages by BM25, by stems and without accents. It needs no model."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence

from core.errors import CancelledError
from core.library.chunking import passages
from core.library.journal import Journal

MOST_WORDS = 40
"""Of a query."""
BATCH_ENTRIES = 500
_STOP_WORDS = """
    a about again all am an and any are as at be because been before being but by can could d did didn do does doesn
    doing don down during each even ever few for from further had has have having he her here hers him his how i if in
    into is isn it its just ll m me more most my no nor not now of off on once only or other our out over own re s same
    she should so some such t than that the their them then there these they this those through to too under until up us
    ve very was wasn we were what when where which while who whom whose why will with would you your tell thing things
    entry entries journal wrote write written mention mentioned day time remember
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


class WordIndex:
    """The passages of all entries as SQLite's FTS5 holds them. One thread at a time."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        form = "tokenize = 'porter unicode61 remove_diacritics 2'"
        self._db.executescript(
            f"CREATE VIRTUAL TABLE passages USING fts5(text, entry UNINDEXED, {form});"
            "CREATE VIRTUAL TABLE terms USING fts5vocab(passages, row);"
            f"CREATE VIRTUAL TABLE probe USING fts5(text, {form});"
            "CREATE VIRTUAL TABLE probed USING fts5vocab(probe, instance);"
        )
        self._rows: dict[str, range] = {}
        """The row of each passage of an entry."""
        self._next = 1
        self._seen = ""
        """The position in the journal's changes up to which this index follows them."""
        self._changed: dict[str, None] = {}
        """Entries that changed before `_seen` and are still to be taken up."""

    def follow(
        self,
        journal: Journal,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take up what has changed in the journal; the first time all of it.

        Raises CancelledError; the next call goes on from there.
        """
        changed, self._seen = journal.changes(self._seen)
        if changed is None:
            changed = journal.entry_ids()
            for id_ in self._rows.keys() - set(changed):
                self.put(id_, "")
        self._changed |= dict.fromkeys(changed)
        ids = list(self._changed)
        for start in range(0, len(ids), BATCH_ENTRIES):
            if cancelled():
                raise CancelledError
            batch = ids[start : start + BATCH_ENTRIES]
            texts = {entry.id: entry.text for entry in journal.entries_of(batch)}
            self._db.execute("BEGIN")
            for id_ in batch:
                self.put(id_, texts.get(id_, ""))
                del self._changed[id_]
            self._db.execute("COMMIT")
            if len(ids) > BATCH_ENTRIES:
                progress(start + len(batch), len(ids))

    def put(self, entry: str, text: str) -> None:
        """Add an entry, or replace its text; an empty one removes it."""
        if rows := self._rows.pop(entry, None):
            self._db.execute("DELETE FROM passages WHERE rowid BETWEEN ? AND ?", (rows[0], rows[-1]))
        if spans := passages(text):
            self._rows[entry] = rows = range(self._next, self._next + len(spans))
            self._next = rows.stop
            put = "INSERT INTO passages(rowid, text, entry) VALUES (?, ?, ?)"
            self._db.executemany(put, ((row, text[slice(*span)], entry) for row, span in zip(rows, spans, strict=True)))

    def find(
        self, words: Sequence[str], count: int, among: Collection[str] | None = None
    ) -> dict[str, dict[int, float]]:
        """The passages of about `count` entries that have most of the words: by entry and passage the BM25 score."""
        found: dict[str, dict[int, float]] = {}
        wanted = " OR ".join(f'"{word}"' for word in words)
        query = "SELECT rowid, entry, -bm25(passages) FROM passages WHERE passages MATCH ? ORDER BY rank"
        for row, entry, score in self._db.execute(query, (wanted,)) if words else ():
            if among is None or entry in among:
                found.setdefault(entry, {})[row - self._rows[entry][0]] = score
            if len(found) == count:
                break
        return found

    def stems(self, text: str) -> list[str]:
        """The words of a text as the index has them, in order."""
        self._db.execute("DELETE FROM probe")
        self._db.execute("INSERT INTO probe VALUES (?)", (text,))
        return [term for (term,) in self._db.execute("SELECT term FROM probed ORDER BY offset")]

    def passages_with(self, stem: str) -> int:
        """How many passages have a word."""
        return next((count for (count,) in self._db.execute("SELECT doc FROM terms WHERE term = ?", (stem,))), 0)

    def __len__(self) -> int:
        """The number of passages."""
        return sum(map(len, self._rows.values()))


def content_words(query: str) -> list[str]:
    """The words of a query that say what it is about, each once."""
    words: Iterable[str] = re.findall(r"[^\W_]+", query[:4_000])
    return list(dict.fromkeys(word for word in words if word.lower() not in STOP_WORDS))[:MOST_WORDS]
