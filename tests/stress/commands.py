"""The command lines and the imports, each in a loop on its own thread."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import redis

from app.client import Client
from core.errors import CharlieError
from core.library.records import Conversation, Entry, StoredMessage
from core.text import new_id
from tests.app.commands.charlie import CHARLIE, environment
from tests.stress.record import Record

PATIENCE = 120.0
NEWEST = 12
"""The entries that are changed: those at the top of the interfaces' lists."""
T = TypeVar("T")


class Commands:
    """Does one operation by chance, by the commands that a person has."""

    def __init__(self, home: Path, client: Client, record: Record, seed: int) -> None:
        self._home = home
        self._client = client
        self._record = record
        self._chance = random.Random(seed)

    def step(self) -> None:
        chosen = self._chance.choices(
            [self._add, self._edit, self._delete, self._restore, self._purge, self._rename, self._search],
            [5, 6, 3, 2, 2, 1, 0.3],
        )[0]
        chosen()

    def _run(self, kind: str, *arguments: str) -> str | None:
        """The output of a command; None if it failed."""
        done = subprocess.run(
            [CHARLIE, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False,
            env=environment(self._home),
        )  # fmt: skip
        error = done.stderr.decode()
        if "Traceback" in error or "Unexpected" in error:
            self._record.problems.append(f"{' '.join(arguments)[:80]}: {error[-300:]}")
        self._record.count(kind if done.returncode == 0 else f"{kind}, refused")
        return done.stdout.decode() if done.returncode == 0 else None

    def _looked_up(self, read: Callable[[], list[T]]) -> T | None:
        """One of those that are read; None if there is none, or while the database is away."""
        try:
            found = read()
        except (CharlieError, redis.RedisError):
            return None
        return self._chance.choice(found) if found else None

    def _entry(self) -> Entry | None:
        journal = self._client.journal
        return self._looked_up(lambda: journal.entries_of(journal.entry_ids()[:NEWEST]))

    def _trashed(self) -> str | None:
        return self._looked_up(
            lambda: [item.id for item in self._client.trash.items() if item.id not in self._record.purging]
        )

    def _add(self) -> None:
        word = self._record.word()
        if self._run("add by command", "journal", "add", f"{word}\nby a command", "--no-wait") is not None:
            self._record.say_saved("add", word)

    def _edit(self) -> None:
        entry = self._entry()
        if entry is None or not self._record.may_change(entry.id):
            return self._add()
        word = self._record.word()
        text = f"{word}\nin place of all" if self._chance.random() < 0.5 else f"{entry.text}\n{word} more"
        if self._run("edit by command", "journal", "edit", entry.id, text, "--no-wait") is not None:
            self._record.say_saved(f"edit of {entry.id}", word)
        return None

    def _delete(self) -> None:
        if (entry := self._entry()) is not None:
            self._run("delete by command", "journal", "delete", entry.id, "--yes")

    def _restore(self) -> None:
        if (id_ := self._trashed()) is not None:
            self._run("bring back by command", "trash", "restore", id_)

    def _purge(self) -> None:
        if (id_ := self._trashed()) is None:
            return
        try:
            self._record.begin_purge(id_, self._client.trash.texts(id_))
        except redis.RedisError:
            return
        self._run("remove for good", "trash", "empty", id_, "--yes")

    def _rename(self) -> None:
        found = self._looked_up(self._client.conversations.conversations)
        if found is None or not self._record.may_change(found.id):
            return
        word = self._record.word()
        if self._chance.random() < 0.3:
            self._run("delete conversation", "conversations", "delete", found.id, "--yes")
        elif self._run("rename conversation", "conversations", "rename", found.id, f"Title {word}") is not None:
            self._record.say_saved(f"rename of {found.id}", word)

    def _search(self) -> None:
        if (entry := self._entry()) is not None:
            self._run("search", "journal", "search", entry.title)


class Imports:
    """Imports exports with new records and with later texts of those that are here."""

    def __init__(self, home: Path, folder: Path, client: Client, record: Record, seed: int) -> None:
        self._commands = Commands(home, client, record, seed)
        self._folder = folder
        self._client = client
        self._record = record

    def step(self) -> None:
        new = [self._entry(new_id()) for _ in range(3)]
        talk = Conversation(new_id(), f"Title {self._record.word()}", time.time(), time.time())
        turns = [StoredMessage(new_id(), role, f"{self._record.word()} said") for role in ("user", "assistant")]
        renewed = []
        here = self._commands._entry()
        if here is not None and self._record.may_change(here.id):
            renewed = [self._entry(here.id)]
        write_export(self._folder, talk, turns, [*new, *renewed])
        if self._commands._run("import", "import", str(self._folder)) is None:
            return
        words = [entry.text.split()[0] for entry in new] + [talk.title.split()[1]]
        self._record.say_saved("import", *words, *(turn.text.split()[0] for turn in turns))
        # Of a record that is here the later text stays, so the import may have left that one out.

    def _entry(self, id_: str) -> Entry:
        now = time.time()
        return Entry(id_, f"{self._record.word()}\nfrom an export", now, now)


def write_export(folder: Path, talk: Conversation, turns: list[StoredMessage], entries: list[Entry]) -> None:
    """Write an export of format 1, as the version before wrote it."""
    folder.mkdir(exist_ok=True)
    conversation = {"conversation": asdict(talk), "messages": [asdict(turn) for turn in turns]}
    records = [[json.dumps(conversation)], [json.dumps(asdict(entry)) for entry in entries]]
    text = f'{{"charlie_export": 1,\n"exported": {time.time()!r},\n"conversations": [\n{records[0][0]}\n],\n'
    text += '"entries": [\n' + ",\n".join(records[1]) + "\n],\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / "library.json").write_text(f'{text}"sha256": "{digest}"}}\n')
