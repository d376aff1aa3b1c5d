"""Conversations and journal entries as they are stored. Every write may be repeated without doubling anything."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from core.errors import NotFoundError
from core.session_files import JOURNAL
from core.text import clean, new_id, one_line

if TYPE_CHECKING:
    from core.database import RedisClient

CONVERSATIONS = "charlie:conversations"
ENTRIES = "charlie:entries"
CHANGES = "charlie:entries:changes"
"""The entries that came or went, one after the other, so that nobody has to read all ids again to learn which."""
KEPT_CHANGES = 1_000
"""About; who has missed more reads all ids."""
UNDESCRIBED = "charlie:entries:undescribed"
"""The entries that can be found and have no mood and title yet, by the time they were written."""
KEPT_UNDESCRIBED = 100
"""The newest; whoever brings a whole journal along does not wait hours for its moods."""
INDEXES = "charlie:indexes"
"""The names of the hashes, by entry, that embedding models have made of the journal."""
TITLE_WIDTH = 60
PART = 200
"""Entries that are read at a time where not all are wanted at once."""


class MessageState(StrEnum):
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One turn. `stats` is the JSON object of `charlie ask --json` less the text; None for what a person wrote."""

    id: str
    role: Literal["user", "assistant"]
    text: str
    at: float = field(default_factory=time.time)
    state: MessageState = MessageState.COMPLETE
    stats: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    id: str
    title: str
    created: float
    updated: float


class EntryState(StrEnum):
    """How far the ingestion of an entry is."""

    SAVED = "saved"
    READING = "reading"
    FINDABLE = "findable"
    FAILED = "failed"
    DROPPED = "dropped"
    """Reading it in has failed, and a person has decided to leave it: it is not read in by itself, nor found."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A journal entry. `revision` grows with each change of the text; `ingested` is the revision that can be found."""

    id: str
    text: str
    created: float
    updated: float
    revision: int = 1
    ingested: int = 0
    state: EntryState = EntryState.SAVED
    error: str = ""
    mood: str = ""
    """One word of a model's, of the text as it is; empty where none has named it."""
    suggested_title: str = ""
    """Likewise."""

    @property
    def title(self) -> str:
        return one_line(self.text, TITLE_WIDTH) or "Untitled"


class Restored(StrEnum):
    """What became of something that was brought back from an export."""

    ADDED = "added"
    RENEWED = "renewed"
    """The export had a later text, which is here now."""
    SAME = "same"
    KEPT = "kept"
    """What is here is later, and stays."""


class Library:
    """Reads and writes the library. `redis` must decode responses.

    What a person writes has returned when the database has written it to its append-only file, and `sync` has
    brought that to the disk.
    """

    def __init__(self, redis: RedisClient, sync: Callable[[], None] = lambda: None) -> None:
        self.redis = redis
        self._sync = sync

    def new_conversation(self, title: str = "") -> Conversation:
        now = time.time()
        conversation = Conversation(new_id(), clean(title), now, now)
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.zadd(CONVERSATIONS, {conversation.id: self._first_place()})
            self._put_conversation(conversation, pipe)
            pipe.execute()
        return conversation

    def conversations(self) -> list[Conversation]:
        """All of them, the last used first."""
        ids = self.redis.zrevrange(CONVERSATIONS, 0, -1)
        with self.redis.pipeline(transaction=False) as pipe:
            for id_ in ids:
                pipe.get(_conversation_key(id_))
            return [Conversation(**json.loads(found)) for found in pipe.execute() if found]

    def conversation(self, id_: str) -> Conversation:
        """Raises NotFoundError."""
        if found := self.redis.get(_conversation_key(id_)):
            return Conversation(**json.loads(found))
        raise _no_conversation(id_)

    def has_conversation(self, id_: str) -> bool:
        return bool(self.redis.exists(_conversation_key(id_)))

    def rename_conversation(self, id_: str, title: str) -> None:
        """Raises NotFoundError."""
        self._change_conversation(id_, lambda old, _: replace(old, title=clean(title)))
        self._sync()

    def delete_conversation(self, id_: str) -> None:
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.zrem(CONVERSATIONS, id_)
            pipe.delete(_conversation_key(id_), _messages_key(id_))
            pipe.execute()
        self._sync()

    def messages(self, id_: str) -> list[StoredMessage]:
        """All turns, oldest first."""
        found = self.redis.hgetall(_messages_key(id_))
        return [_message(found[key]) for key in sorted(found)]

    def last_message(self, id_: str) -> str:
        """The id of the last turn; empty without one."""
        return max(self.redis.hkeys(_messages_key(id_)), default="")

    def put_message(self, id_: str, message: StoredMessage, also: Callable[[Any], None] = lambda _: None) -> None:
        """Add a turn, or replace the one with its id; an untitled conversation takes its title from it.

        `also` may add commands to the MULTI that writes it. Raises NotFoundError.
        """
        message = replace(message, text=clean(message.text))

        def change(old: Conversation, pipe: Any) -> Conversation:
            pipe.hset(_messages_key(id_), message.id, json.dumps(asdict(message)))
            also(pipe)
            title = old.title or one_line(message.text, TITLE_WIDTH)
            pipe.zadd(CONVERSATIONS, {id_: self._first_place()})
            return replace(old, title=title, updated=_later(message.at, old.updated))

        self._change_conversation(id_, change)
        self._sync()

    def delete_messages(self, id_: str, ids: Sequence[str]) -> None:
        if ids:
            self.redis.hdel(_messages_key(id_), *ids)

    def branch(self, id_: str, before: str) -> Conversation:
        """A new conversation with the turns that stand before the turn `before`."""
        old = self.conversation(id_)
        new = self.new_conversation(old.title)
        for message in self.messages(id_):
            if message.id < before:
                self.put_message(new.id, message)
        return new

    def _change_conversation(self, id_: str, change: Callable[[Conversation, Any], Conversation]) -> None:
        """Begin anew when another process writes or deletes it meanwhile, so that nothing is overwritten or revived."""

        def attempt(pipe: Any) -> None:
            found = pipe.get(_conversation_key(id_))
            if not found:
                raise _no_conversation(id_)
            pipe.multi()
            self._put_conversation(change(Conversation(**json.loads(found)), pipe), pipe)

        self.redis.transaction(attempt, _conversation_key(id_))

    def restore_conversation(self, conversation: Conversation, messages: Sequence[StoredMessage]) -> Restored:
        """Bring one back. Where the library's was used as late or later it stays; else turns are added or renewed."""
        keys = _conversation_key(conversation.id), _messages_key(conversation.id)

        def restore(pipe: Any) -> Restored:
            found, held = pipe.get(keys[0]), pipe.hgetall(keys[1])
            pipe.multi()
            here = Conversation(**json.loads(found)) if found else None
            turns = {message.id: json.dumps(asdict(message)) for message in messages}
            if here and here.updated >= conversation.updated:
                return Restored.SAME if here == conversation and held == turns else Restored.KEPT
            merged = replace(conversation, title=here.title or conversation.title) if here else conversation
            self._put_conversation(merged, pipe)
            pipe.zadd(CONVERSATIONS, {merged.id: merged.updated})
            if turns:
                pipe.hset(keys[1], mapping=turns)
            return Restored.RENEWED if here else Restored.ADDED

        done: Restored = self.redis.transaction(restore, *keys, value_from_callable=True)
        self._sync()
        return done

    def _put_conversation(self, conversation: Conversation, pipe: Any) -> None:
        pipe.set(_conversation_key(conversation.id), json.dumps(asdict(conversation)))

    def _first_place(self) -> float:
        """The score of the conversation that is used now: above all others."""
        last = self.redis.zrevrange(CONVERSATIONS, 0, 0, withscores=True)
        return _later(time.time(), float(last[0][1])) if last else time.time()

    def new_entry(self, text: str, id_: str = "") -> Entry:
        """With `id_`, which is new, a failed attempt can be repeated without doubling the entry."""
        now = time.time()
        entry = Entry(id_ or new_id(), clean(text), now, now)
        with self.redis.pipeline(transaction=True) as pipe:
            self._put_entry(entry, pipe)
            pipe.execute()
        self._sync()
        return entry

    def entries(self) -> list[Entry]:
        """All of them, the newest first."""
        return self.entries_of(self.entry_ids())

    def read_entries(
        self, start: int, count: int, text: str = "", stop: Callable[[], bool] = lambda: False
    ) -> tuple[list[Entry], int | None]:
        """About `count` entries from the `start`th newest on that have `text` in them, in any case.

        Also returns where to go on, None at the end. Reads a part at a time, until `stop()`.
        """
        wanted, found = text.casefold(), list[Entry]()
        while len(found) < count and not stop():
            ids = self.redis.zrevrange(ENTRIES, start, start + PART - 1)
            start += len(ids)
            stored = self.redis.mget([_entry_key(id_) for id_ in ids]) if ids else []
            entries = (_entry(each) for each in stored if each and _may_have(each, wanted))
            found += [entry for entry in entries if wanted in entry.text.casefold()]
            if len(ids) < PART:
                return found, None
        return found, start

    def entry_ids(self) -> list[str]:
        """The newest first."""
        ids: list[str] = self.redis.zrevrange(ENTRIES, 0, -1)
        return ids

    def changes(self, since: str) -> tuple[list[str] | None, str]:
        """The entries that came or went after the position `since`, and the position now.

        None in place of the entries when that is not known any more, or `since` is empty: then all ids have to be
        read, after this, so that no change is missed.
        """
        found = self.redis.xrange(CHANGES, since) if since else []
        if found and found[0][0] == since:
            return [values["entry"] for _, values in found[1:]], found[-1][0]
        last = self.redis.xrevrange(CHANGES, count=1)
        return None, last[0][0] if last else self.redis.xadd(CHANGES, {"entry": ""})

    def journal_session(self) -> str:
        """Names the journal as it is now: another name after each change, so that no deleted text is kept by it."""
        last = self.redis.xrevrange(CHANGES, count=1)
        return JOURNAL + (last[0][0] if last else "0-0")

    def has_session(self, name: str) -> bool:
        """Whether what models have read under a name is still there: a conversation, or the journal as it is."""
        return name == self.journal_session() if name.startswith(JOURNAL) else self.has_conversation(name)

    def exist(self, ids: Sequence[str]) -> list[bool]:
        """Whether there are entries with these ids."""
        with self.redis.pipeline(transaction=False) as pipe:
            for id_ in ids:
                pipe.exists(_entry_key(id_))
            return [bool(found) for found in pipe.execute()]

    def entries_of(self, ids: Sequence[str]) -> list[Entry]:
        """Those that exist, in the order of `ids`."""
        if not ids:
            return []
        return [_entry(found) for found in self.redis.mget([_entry_key(id_) for id_ in ids]) if found]

    def entry(self, id_: str) -> Entry:
        """Raises NotFoundError."""
        if found := self.redis.get(_entry_key(id_)):
            return _entry(found)
        raise _no_entry(id_)

    def write_entry(self, id_: str, text: str) -> Entry:
        """Replace the text. An unchanged text changes nothing. Raises NotFoundError."""
        text = clean(text)

        def write(pipe: Any) -> Entry:
            found = pipe.get(_entry_key(id_))
            if not found:
                raise _no_entry(id_)
            entry = _entry(found)
            pipe.multi()
            if entry.text == text:
                return entry
            entry = replace(
                entry,
                text=text,
                updated=_later(time.time(), entry.updated),
                revision=entry.revision + 1,
                state=EntryState.SAVED,
                error="",
                mood="",
                suggested_title="",
            )
            pipe.set(_entry_key(entry.id), json.dumps(asdict(entry)))
            return entry

        # Begun anew when another process writes it meanwhile: each text has a revision of its own.
        written: Entry = self.redis.transaction(write, _entry_key(id_), value_from_callable=True)
        self._sync()
        return written

    def mark_entry(self, id_: str, revision: int, state: EntryState, error: str = "") -> None:
        """Say how far the ingestion of one revision is; of no effect when the text has changed since."""
        self.mark_entries({id_: revision}, state, error)

    def mark_entries(self, revisions: Mapping[str, int], state: EntryState, error: str = "") -> None:
        """The same for several entries, each with its revision."""
        ids = list(revisions)
        for start in range(0, len(ids), PART):
            self._mark({id_: revisions[id_] for id_ in ids[start : start + PART]}, state, error)

    def _mark(self, revisions: Mapping[str, int], state: EntryState, error: str) -> None:
        keys = [_entry_key(id_) for id_ in revisions]

        def mark(pipe: Any) -> None:
            held = pipe.mget(keys)
            pipe.multi()
            for key, found, revision in zip(keys, held, revisions.values(), strict=True):
                if not found or (entry := _entry(found)).revision != revision:
                    continue
                ingested = revision if state is EntryState.FINDABLE else entry.ingested
                pipe.set(key, json.dumps(asdict(replace(entry, state=state, error=error, ingested=ingested))))
                if state is EntryState.FINDABLE and not entry.mood and entry.text.strip():
                    pipe.zadd(UNDESCRIBED, {entry.id: entry.created})
                    pipe.zremrangebyrank(UNDESCRIBED, 0, -KEPT_UNDESCRIBED - 1)

        self.redis.transaction(mark, *keys)

    def has_undescribed(self) -> bool:
        return bool(self.redis.exists(UNDESCRIBED))

    def take_undescribed(self) -> str | None:
        """The newest entry that has no mood and title yet. It is not given out again: it might end the worker."""
        taken = self.redis.zpopmax(UNDESCRIBED)
        return taken[0][0] if taken else None

    def put_back_undescribed(self, entry: Entry) -> None:
        """Give it out again after all."""
        self.redis.zadd(UNDESCRIBED, {entry.id: entry.created})

    def describe_entry(self, id_: str, revision: int, mood: str, title: str) -> None:
        """Keep what a model calls one revision; of no effect when the text has changed since."""

        def describe(pipe: Any) -> None:
            found = pipe.get(_entry_key(id_))
            pipe.multi()
            if found and (entry := _entry(found)).revision == revision:
                described = replace(entry, mood=clean(mood), suggested_title=clean(title))
                pipe.set(_entry_key(id_), json.dumps(asdict(described)))

        # Begun anew when the entry is written meanwhile.
        self.redis.transaction(describe, _entry_key(id_))

    def delete_entry(self, id_: str) -> None:
        """Its text is gone at once, from what models have read of it too."""
        indexes = self.redis.smembers(INDEXES)
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.zrem(ENTRIES, id_)
            pipe.zrem(UNDESCRIBED, id_)
            pipe.delete(_entry_key(id_))
            for index in indexes:
                pipe.hdel(index, id_)
            _tell(pipe, id_)
            pipe.execute()
        self._sync()

    def restore_entries(self, entries: Sequence[Entry]) -> list[Restored]:
        """Bring entries back, the later text of each; what is written has to be read in again. No id twice."""
        if not entries:
            return []
        keys = [_entry_key(entry.id) for entry in entries]

        def restore(pipe: Any) -> list[Restored]:
            held = pipe.mget(keys)
            pipe.multi()
            done = []
            for entry, found in zip(entries, held, strict=True):
                here = _entry(found) if found else None
                if here and (here.text == entry.text or here.updated >= entry.updated):
                    done.append(Restored.SAME if here.text == entry.text else Restored.KEPT)
                    continue
                # Above both, so that a mark can never be for another text.
                revision = max(entry.revision, here.revision + 1) if here else entry.revision
                unread = replace(entry, revision=revision, ingested=0, state=EntryState.SAVED, error="")
                self._put_entry(unread, pipe)
                done.append(Restored.RENEWED if here else Restored.ADDED)
            return done

        restored: list[Restored] = self.redis.transaction(restore, *keys, value_from_callable=True)
        self._sync()
        return restored

    def _put_entry(self, entry: Entry, pipe: Any) -> None:
        pipe.set(_entry_key(entry.id), json.dumps(asdict(entry)))
        pipe.zadd(ENTRIES, {entry.id: entry.created})
        _tell(pipe, entry.id)


def _tell(pipe: Any, id_: str) -> None:
    """In the same MULTI as the change, so that no search can miss it."""
    pipe.xadd(CHANGES, {"entry": id_}, maxlen=KEPT_CHANGES, approximate=True)


def _later(now: float, than: float) -> float:
    """The time now; just after another one where the clock was set back since. What is later wins at an import."""
    return max(now, than + 1e-6)


def _no_conversation(id_: str) -> NotFoundError:
    return NotFoundError(f"There is no conversation {id_!r}.", "The Chat screen lists them.")


def _no_entry(id_: str) -> NotFoundError:
    return NotFoundError(f"There is no journal entry {id_!r}.", "`charlie journal list` shows them.")


def _conversation_key(id_: str) -> str:
    return f"charlie:conversation:{id_}"


def _messages_key(id_: str) -> str:
    return f"charlie:conversation:{id_}:messages"


def _entry_key(id_: str) -> str:
    return f"charlie:entry:{id_}"


def _may_have(stored: str, wanted: str) -> bool:
    """Quicker than decoding it: False only if the entry surely does not have it. What JSON escapes is not looked at."""
    plain = wanted.isascii() and wanted.isprintable() and not set(wanted) & {'"', "\\"}
    return not plain or "\\u" in stored or wanted in stored.casefold()


def _message(text: str) -> StoredMessage:
    data = json.loads(text)
    return StoredMessage(**{**data, "state": MessageState(data["state"])})


def _entry(text: str) -> Entry:
    data = json.loads(text)
    return Entry(**{**data, "state": EntryState(data["state"])})
