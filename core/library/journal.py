"""Journal entries as they are stored. Every write may be repeated without doubling anything."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from core.database import keys
from core.database.store import Store
from core.errors import NotFoundError
from core.figures import zone_name
from core.library.history import keep, worth_keeping
from core.library.records import (
    Entry,
    EntryState,
    Restored,
    Revision,
    RevisionKind,
    batches,
    decode,
    encode,
    has_text,
    later,
)
from core.library.text_input import as_stored
from core.library.trash import move_to_trash, take_from_trash
from core.text import clean, fold, new_id

JOURNAL = "journal-"
"""Prefix of a journal session's name; the journal's revision follows it."""
KEPT_CHANGES = 1_000
"""About; a search that has missed more reads all ids."""
KEPT_UNDESCRIBED = 100
"""The newest: an imported journal does not wait hours for its titles."""
PAGE_ENTRIES = 200
"""Entries that are read together."""


class Journal(Store):
    """Reads and writes journal entries."""

    def new_entry(self, text: str, id_: str = "", writer: str = "") -> Entry:
        """Store a new entry. With `id_`, a repeated call does not store it twice, but may change its text."""
        now = time.time()
        entry = Entry(id_ or new_id(), as_stored(text), now, now, writer=writer, zone=zone_name())
        own = keys.entry(entry.id), keys.trashed(keys.entry(entry.id))

        def put(pipe: Any) -> Entry:
            found = [text for text in pipe.mget(own) if text]
            pipe.multi()
            if found:
                return decode(Entry, found[0])
            self._put_entry(entry, pipe)
            return entry

        stored = self._commit(put, *own)
        if stored.text == entry.text:
            return stored
        try:
            return self.write_entry(entry.id, text, 1, writer)
        except NotFoundError:  # it is in the trash, so this text becomes another entry
            return self.new_entry(text, writer=writer)

    def entries(self) -> list[Entry]:
        """All entries, the newest first."""
        return self.entries_of(self.entry_ids())

    def read_entries(
        self, start: int, count: int, text: str = "", stop: Callable[[], bool] = lambda: False
    ) -> tuple[list[Entry], int | None]:
        """About `count` entries that contain `text` (see `fold`), from the `start`th newest on.

        Also returns where to continue, None at the end. Reads PAGE_ENTRIES entries at a time, until `stop()`.
        """
        wanted, found = fold(text), list[Entry]()
        while len(found) < count and not stop():
            ids = self.redis.zrevrange(keys.ENTRIES, start, start + PAGE_ENTRIES - 1)
            start += len(ids)
            stored = self.redis.mget([keys.entry(id_) for id_ in ids]) if ids else []
            found += [decode(Entry, each) for each in stored if each and has_text(each, wanted)]
            if len(ids) < PAGE_ENTRIES:
                return found, None
        return found, start

    def entry_ids(self) -> list[str]:
        """The newest first."""
        ids: list[str] = self.redis.zrevrange(keys.ENTRIES, 0, -1)
        return ids

    def changes(self, since: str) -> tuple[list[str] | None, str]:
        """The ids of entries added, changed or deleted after the position `since`, and the position now.

        None in place of the ids when `since` is empty or too old. The caller then reads all ids, after this call, so
        that it misses no change.
        """
        stream_id = "-".join(since.split("-")[:2])  # without the nonce
        found = self.redis.xrange(keys.CHANGES, stream_id) if since else []
        if found and _position(*found[0]) == since:
            return [values["entry"] for _, values in found[1:]], _position(*found[-1])
        if not (last := self.redis.xrevrange(keys.CHANGES, count=1)):
            _record_change(self.redis, "")
            last = self.redis.xrevrange(keys.CHANGES, count=1)
        return None, _position(*last[0])

    def journal_session(self) -> str:
        """The session name of the journal's revision. A new name per change: no KV cache keeps deleted text."""
        last = self.redis.xrevrange(keys.CHANGES, count=1)
        return JOURNAL + (_position(*last[0]) if last else "0-0")

    def exist(self, ids: Sequence[str]) -> list[bool]:
        """Whether there are entries with these ids."""
        with self.redis.pipeline(transaction=False) as pipe:
            for id_ in ids:
                pipe.exists(keys.entry(id_))
            return [bool(found) for found in pipe.execute()]

    def entries_of(self, ids: Sequence[str]) -> list[Entry]:
        """The entries that exist, in the order of `ids`."""
        if not ids:
            return []
        return [decode(Entry, found) for found in self.redis.mget([keys.entry(id_) for id_ in ids]) if found]

    def entry(self, id_: str) -> Entry:
        """Raises NotFoundError."""
        if found := self.redis.get(keys.entry(id_)):
            return decode(Entry, found)
        raise _no_entry(id_)

    def write_entry(self, id_: str, text: str, base: int | None = None, writer: str = "") -> Entry:
        """Replace the text of the revision `base`. An unchanged text changes nothing. Raises NotFoundError.

        If another writer was there first, the result's revision is more than one above `base`, and the text that the
        caller did not know is kept as a revision.
        """
        text = as_stored(text)

        def write(pipe: Any) -> Entry:
            found, kept = pipe.get(keys.entry(id_)), pipe.lindex(keys.revisions(id_), 0)
            if not found:
                raise _no_entry(id_)
            entry = decode(Entry, found)
            pipe.multi()
            if entry.text == text:
                return entry
            unknown = base is not None and base != entry.revision
            if unknown or worth_keeping(entry, text, writer, decode(Revision, kept) if kept else None):
                keep(pipe, id_, RevisionKind.TEXT, entry.text, entry.updated)
            # It is not indexed and has no title yet, and only a mood that a person set.
            entry = replace(
                entry, text=text, updated=later(time.time(), entry.updated), revision=entry.revision + 1,
                writer=writer, state=EntryState.SAVED, error="",
                mood=entry.mood if entry.mood_by else "", suggested_title="", distress=False,
            )  # fmt: skip
            pipe.set(keys.entry(entry.id), encode(entry))
            _record_change(pipe, entry.id)
            return entry

        # Retried when another process writes it: each text has its own revision.
        return self._commit(write, keys.entry(id_))

    def mark_entries(
        self,
        revisions: Mapping[str, int],
        state: EntryState,
        error: str = "",
        felt: Mapping[str, tuple[str, bool]] = MappingProxyType({}),
    ) -> None:
        """Store the state of the revisions' indexing by id, and `felt`: mood and distress.

        Without effect on an entry whose text has changed since.
        """

        def mark(entry: Entry, pipe: Any) -> Entry:
            if state is not EntryState.INDEXED:
                return replace(entry, state=state, error=error)
            if not entry.suggested_title and entry.text.strip():
                pipe.zadd(keys.UNDESCRIBED, {entry.id: entry.created})
                pipe.zremrangebyrank(keys.UNDESCRIBED, 0, -KEPT_UNDESCRIBED - 1)
            mood, distress = felt.get(entry.id, (entry.mood, entry.distress))
            if entry.mood_by:
                mood = entry.mood
                pipe.hset(keys.CORRECTED, entry.id, mood)
            return replace(entry, state=state, error=error, ingested=entry.revision, mood=mood, distress=distress)

        for ids in batches(list(revisions), PAGE_ENTRIES):
            self._change({id_: revisions[id_] for id_ in ids}, mark)

    def _change(self, revisions: Mapping[str, int], change: Callable[[Entry, Any], Entry]) -> None:
        """Change entries whose text is still the revision. Retried when one of them is written at the same time."""
        stored = [keys.entry(id_) for id_ in revisions]

        def attempt(pipe: Any) -> None:
            held = pipe.mget(stored)
            pipe.multi()
            for key, found, revision in zip(stored, held, revisions.values(), strict=True):
                if found and (entry := decode(Entry, found)).revision == revision:
                    pipe.set(key, encode(change(entry, pipe)))

        self.redis.transaction(attempt, *stored)

    def has_undescribed(self) -> bool:
        return bool(self.redis.exists(keys.UNDESCRIBED))

    def take_undescribed(self) -> str | None:
        """Take the newest entry without a title. It is taken only once, since it might end the worker."""
        taken = self.redis.zpopmax(keys.UNDESCRIBED)
        return taken[0][0] if taken else None

    def put_back_undescribed(self, entry: Entry) -> None:
        """Undo `take_undescribed`."""
        self.redis.zadd(keys.UNDESCRIBED, {entry.id: entry.created})

    def describe_entry(self, id_: str, revision: int, title: str) -> None:
        """Store the title of one revision; without effect when the text has changed since."""
        self._change({id_: revision}, lambda entry, _: replace(entry, suggested_title=clean(title)))

    def set_mood(self, id_: str, mood: str) -> Entry:
        """Store the mood that a person gave an entry. Raises NotFoundError."""

        def change(entry: Entry, pipe: Any) -> Entry:
            pipe.hset(keys.CORRECTED, id_, mood)
            return replace(entry, mood=mood, mood_by="person")

        while (entry := self.entry(id_)).mood_by != "person" or entry.mood != mood:  # else its text was changed
            self._change({id_: entry.revision}, change)
        self._sync()
        return entry

    def corrected_moods(self) -> dict[str, str]:
        moods: dict[str, str] = self.redis.hgetall(keys.CORRECTED)
        return moods

    def delete_entry(self, id_: str) -> bool:
        """Move the entry to the trash, and delete its vectors, in one MULTI; False if there is none.

        LibraryChanges.delete_entry removes the KV caches too.
        """
        indexes = self.redis.smembers(keys.INDEXES)

        def delete(pipe: Any) -> bool:
            if not pipe.exists(keys.entry(id_)):
                return False
            pipe.multi()
            pipe.zrem(keys.ENTRIES, id_)
            pipe.zrem(keys.UNDESCRIBED, id_)
            pipe.hdel(keys.CORRECTED, id_)
            move_to_trash(pipe, id_, keys.entry(id_))
            for index in indexes:
                pipe.hdel(index, id_)
            _record_change(pipe, id_)
            return True

        return self._commit(delete, keys.entry(id_))

    def bring_back(self, id_: str) -> Entry:
        """Take an entry from the trash. It must be indexed again. Raises NotFoundError."""
        trashed = keys.trashed(keys.entry(id_))

        def take(pipe: Any) -> Entry:
            found, held = pipe.mget(trashed, keys.entry(id_))
            if not (found or held):
                raise _no_entry(id_)
            pipe.multi()
            old = decode(Entry, held or found)
            if held:  # it was brought back a moment ago
                return old
            take_from_trash(pipe, id_, keys.entry(id_))
            entry = replace(old, revision=old.revision + 1, ingested=0, state=EntryState.SAVED, error="")
            self._put_entry(entry, pipe)
            return entry

        return self._commit(take, trashed, keys.entry(id_))

    def restore_entries(
        self, entries: Sequence[Entry], *, overwrite: bool = False, dry_run: bool = False
    ) -> list[Restored]:
        """Restore entries, keeping the newer text, or with `overwrite` the given one. Ids must be unique.

        A replaced text becomes a revision, as does that of an entry in the trash, so that no id is in both places.
        Restored entries must be indexed again. `dry_run` changes nothing.
        """
        if not entries:
            return []
        stored = [keys.entry(entry.id) for entry in entries]
        trashed = [keys.trashed(key) for key in stored]

        def restore(pipe: Any) -> list[Restored]:
            held, deleted = pipe.mget(stored), pipe.mget(trashed)
            pipe.multi()
            done = []
            for entry, found, gone in zip(entries, held, deleted, strict=True):
                old = decode(Entry, found or gone) if found or gone else None
                if found and old and (old.text == entry.text or (old.updated >= entry.updated and not overwrite)):
                    done.append(Restored.SAME if old.text == entry.text else Restored.KEPT)
                    continue
                done.append(Restored.RENEWED if found else Restored.ADDED)
                if dry_run:
                    continue
                if gone:
                    take_from_trash(pipe, entry.id, keys.entry(entry.id))
                if old and old.text != entry.text:
                    keep(pipe, old.id, RevisionKind.TEXT, old.text, old.updated)
                # Above both revisions, so a mark of either cannot match.
                revision = max(entry.revision, old.revision + 1) if old else entry.revision
                updated = later(time.time(), old.updated) if found and old and overwrite else entry.updated
                unindexed = replace(
                    entry, revision=revision, updated=updated, ingested=0, state=EntryState.SAVED, error=""
                )
                self._put_entry(unindexed, pipe)
            return done

        return self._commit(restore, *stored, *trashed)

    def _put_entry(self, entry: Entry, pipe: Any) -> None:
        pipe.set(keys.entry(entry.id), encode(entry))
        pipe.zadd(keys.ENTRIES, {entry.id: entry.created})
        _record_change(pipe, entry.id)


def _record_change(pipe: Any, id_: str) -> None:
    """Record a change, in the same MULTI, so that no search misses it."""
    pipe.xadd(keys.CHANGES, {"entry": id_, "nonce": secrets.randbelow(2**32)}, maxlen=KEPT_CHANGES, approximate=True)


def _position(stream_id: str, change: Mapping[str, str]) -> str:
    """The position of a change. A deleted and rewritten stream may repeat an id, but not with the same nonce."""
    nonce = change.get("nonce")  # records of earlier versions have none
    return f"{stream_id}-{nonce}" if nonce else stream_id


def _no_entry(id_: str) -> NotFoundError:
    return NotFoundError(f"There is no journal entry {id_!r}.", "`charlie journal list` shows them.")
