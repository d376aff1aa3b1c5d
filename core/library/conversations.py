"""Conversations as they are stored. Every write may be repeated without doubling anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from core.database import keys
from core.database.connection import transact
from core.database.store import Store
from core.errors import NotFoundError
from core.library.history import keep
from core.library.records import (
    TITLE_WIDTH,
    Conversation,
    Restored,
    Revision,
    RevisionKind,
    StoredMessage,
    decode,
    encode,
    has_text,
    later,
)  # fmt: skip
from core.library.text_input import as_stored
from core.library.trash import move_to_trash, take_from_trash
from core.text import clean, fold, new_id, one_line

FIRST_PLACE = ("ZREVRANGE", keys.CONVERSATIONS, "0", "0", "WITHSCORES")
"""Reads the conversation in use, and its score."""


class Conversations(Store):
    """Reads and writes conversations."""

    def new_conversation(self, title: str = "") -> Conversation:
        now = time.time()
        conversation = Conversation(new_id(), as_stored(title), now, now)
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.zadd(keys.CONVERSATIONS, {conversation.id: self._first_place()})
            self._put_conversation(conversation, pipe)
            pipe.execute()
        return conversation

    def conversations(self) -> list[Conversation]:
        """All conversations, the last used first."""
        ids = self.redis.zrevrange(keys.CONVERSATIONS, 0, -1)
        with self.redis.pipeline(transaction=False) as pipe:
            for id_ in ids:
                pipe.get(keys.conversation(id_))
            return [decode(Conversation, found) for found in pipe.execute() if found]

    def conversation(self, id_: str) -> Conversation:
        """Raises NotFoundError."""
        if found := self.redis.get(keys.conversation(id_)):
            return decode(Conversation, found)
        raise _no_conversation(id_)

    def has_conversation(self, id_: str) -> bool:
        return bool(self.redis.exists(keys.conversation(id_)))

    def rename_conversation(self, id_: str, title: str) -> None:
        """Raises NotFoundError."""
        title = as_stored(title)

        def rename(old: Conversation, pipe: Any, _: list[str]) -> Conversation:
            if old.title and old.title != title:
                keep(pipe, id_, RevisionKind.TITLE, old.title, old.updated)
            return replace(old, title=title)

        self._change_conversation(id_, rename)

    def delete_conversation(self, id_: str) -> bool:
        """Move the conversation to the trash; False if there is none."""
        own = keys.conversation(id_), keys.messages(id_)

        def delete(pipe: Any) -> bool:
            there = [key for key in own if pipe.exists(key)]
            pipe.multi()
            if keys.conversation(id_) not in there:
                return False
            pipe.zrem(keys.CONVERSATIONS, id_)
            move_to_trash(pipe, id_, *there)
            return True

        return self._commit(delete, *own)

    def bring_back(self, id_: str) -> Conversation:
        """Take a conversation from the trash. Raises NotFoundError."""
        own = keys.conversation(id_), keys.messages(id_)
        trashed = [keys.trashed(key) for key in own]

        def take(pipe: Any) -> Conversation:
            found, held = pipe.mget(trashed[0], own[0])
            if not (found or held):
                raise _no_conversation(id_)
            turns = pipe.exists(trashed[1])
            pipe.multi()
            conversation = decode(Conversation, held or found)
            if held:  # it was brought back a moment ago
                return conversation
            take_from_trash(pipe, id_, *(own if turns else own[:1]))
            pipe.zadd(keys.CONVERSATIONS, {id_: conversation.updated})
            return conversation

        return self._commit(take, *own, *trashed)

    def messages(self, id_: str) -> list[StoredMessage]:
        """All turns, oldest first."""
        found = self.redis.hgetall(keys.messages(id_))
        return [decode(StoredMessage, found[key]) for key in sorted(found)]

    def containing(self, text: str, stop: Callable[[], bool] = lambda: False) -> set[str]:
        """The ids of the conversations with `text` (see `fold`) in a message; those found until `stop()`."""
        wanted, found = fold(text), set[str]()
        for id_ in self.redis.zrevrange(keys.CONVERSATIONS, 0, -1):
            if stop():
                break
            if any(has_text(turn, wanted) for turn in self.redis.hvals(keys.messages(id_))):
                found.add(id_)
        return found

    def put_message(self, id_: str, message: StoredMessage, also: Callable[[Any], None] = lambda _: None) -> None:
        """Add a turn, or replace the turn with the same id. The first turn gives an untitled conversation its title.

        `also` may add commands to the same MULTI. Raises NotFoundError.
        """
        prepare = as_stored if message.role == "user" else clean
        message = replace(message, text=prepare(message.text), reasoning=clean(message.reasoning))

        def change(old: Conversation, pipe: Any, first: list[str]) -> Conversation:
            pipe.hset(keys.messages(id_), message.id, encode(message))
            also(pipe)
            title = old.title or one_line(message.text, TITLE_WIDTH)
            pipe.zadd(keys.CONVERSATIONS, {id_: _above(first)})
            return replace(old, title=title, updated=later(message.at, old.updated))

        self._change_conversation(id_, change)

    def delete_messages(self, id_: str, ids: Sequence[str]) -> None:
        """Delete turns. Replies stay as revisions of the conversation."""
        if not ids:
            return

        def delete(pipe: Any) -> None:
            found = [decode(StoredMessage, text) for text in pipe.hmget(keys.messages(id_), ids) if text]
            pipe.multi()
            pipe.hdel(keys.messages(id_), *ids)
            for message in found:
                if message.role == "assistant" and message.text:
                    keep(pipe, id_, RevisionKind.REPLY, message.text, message.at, message.id, message.reasoning)

        self.redis.transaction(delete, keys.messages(id_))

    def present(self, id_: str, revision: Revision) -> StoredMessage | None:
        """The reply that stands where a replaced one stood; None if that turn has no reply now."""
        after = (each for each in self.messages(id_) if each.id >= revision.message)
        found = next(after, None)
        return found if found is not None and found.role == "assistant" else None

    def bring_back_reply(self, id_: str, revision: Revision) -> None:
        """Put a replaced reply where the present one stands, which becomes a revision. Raises NotFoundError."""
        now = self.present(id_, revision)
        name = now.id if now else revision.message

        def change(old: Conversation, pipe: Any, _: list[str]) -> Conversation:
            if now and now.text and now.text != revision.text:
                keep(pipe, id_, RevisionKind.REPLY, now.text, now.at, now.id, now.reasoning)
            reply = StoredMessage(name, "assistant", revision.text, revision.at, reasoning=revision.reasoning)
            pipe.hset(keys.messages(id_), name, encode(reply))
            return replace(old, updated=later(time.time(), old.updated))

        self._change_conversation(id_, change)

    def branch(self, id_: str, before: str, title: str) -> Conversation:
        """A new conversation with the turns before the turn `before`."""
        new = self.new_conversation(title)
        for message in self.messages(id_):
            if message.id < before:
                self.put_message(new.id, message)
        return new

    def _change_conversation(self, id_: str, change: Callable[[Conversation, Any, list[str]], Conversation]) -> None:
        """Retry when another process has written or deleted it since the read, so nothing is overwritten or revived.

        `change` gets the record, a pipeline, and the conversation in the first place with its score.
        """

        def attempt(pipe: Any, found: list[Any]) -> None:
            record, first = found
            if not record:
                raise _no_conversation(id_)
            self._put_conversation(change(decode(Conversation, record), pipe, first), pipe)

        key = keys.conversation(id_)
        transact(self.redis, [key], [("GET", key), FIRST_PLACE], attempt)
        self._sync()

    def restore_conversation(
        self, conversation: Conversation, messages: Sequence[StoredMessage], *, dry_run: bool = False
    ) -> Restored:
        """Restore a conversation. One that was used as late or later stays; otherwise turns are added or replaced.

        One that is in the trash comes back from there with all turns, so that no id is in both places. `dry_run`
        changes nothing.
        """
        own = keys.conversation(conversation.id), keys.messages(conversation.id)
        trashed = [keys.trashed(key) for key in own]

        def restore(pipe: Any) -> Restored:
            found, held = pipe.get(own[0]), pipe.hgetall(own[1])
            gone, turns_gone = pipe.get(trashed[0]), pipe.exists(trashed[1])
            pipe.multi()
            here = decode(Conversation, found or gone) if found or gone else None
            turns = {message.id: message for message in messages}
            held = {key: decode(StoredMessage, text) for key, text in held.items()}
            if found and here and here.updated >= conversation.updated:
                return Restored.SAME if here == conversation and held == turns else Restored.KEPT
            if dry_run:
                return Restored.RENEWED if found else Restored.ADDED
            if gone:
                take_from_trash(pipe, conversation.id, *(own if turns_gone else own[:1]))
            merged = conversation
            if here:
                updated = max(here.updated, conversation.updated)
                merged = replace(conversation, title=here.title or conversation.title, updated=updated)
            self._put_conversation(merged, pipe)
            pipe.zadd(keys.CONVERSATIONS, {merged.id: merged.updated})
            if turns:
                pipe.hset(own[1], mapping={key: encode(turn) for key, turn in turns.items()})
            return Restored.RENEWED if found else Restored.ADDED

        return self._commit(restore, *own, *trashed)

    def _put_conversation(self, conversation: Conversation, pipe: Any) -> None:
        pipe.set(keys.conversation(conversation.id), encode(conversation))

    def _first_place(self) -> float:
        """The score of the conversation in use: above all others."""
        return _above(self.redis.execute_command(*FIRST_PLACE))


def _above(first: Sequence[str]) -> float:
    """A score above that of the answer to FIRST_PLACE."""
    return later(time.time(), float(first[1])) if first else time.time()


def _no_conversation(id_: str) -> NotFoundError:
    return NotFoundError(f"There is no conversation {id_!r}.", "`charlie conversations list` shows them.")
