"""Submits jobs and follows them. Every call blocks for about a millisecond; follow() blocks until the job ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from core.database import keys
from core.database.aof_sync import sync
from core.database.connection import connect
from core.database.ids import ids_from, next_ids, take
from core.database.server import APPEND_ONLY
from core.errors import CharlieError
from core.events.bus import Bus
from core.events.types import JobKind, JobState, QueueChanged, Snapshot
from core.library.conversations import Conversations
from core.library.drafts import Drafts
from core.library.history import History
from core.library.journal import Journal
from core.library.records import Entry, EntryState, StoredMessage
from core.library.text_input import as_stored
from core.library.trash import Trash
from core.paths import Paths
from core.roles import Role
from core.settings import Settings, Thinking
from core.text import one_line
from tasks.jobs.records import Ended, Job, Output
from tasks.jobs.store import Jobs
from tasks.queue.huey_queue import enqueue, make_queue, waiting_before, withdraw
from tasks.queue.messages import job_ids

HEAD = 100
"""positions() reads this many waiting jobs at once, and asks for jobs further back one by one."""
REFUSED_WIDTH = 80
MAX_CHARACTERS = 16 * 1024**2
"""Of one message, query or question."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A running job (position 0) or waiting job (1 is next); `wait` is the estimated seconds until it starts."""

    job: Job
    position: int
    wait: float | None
    ahead: int
    """The number of jobs before it, with the running one."""


class Client:
    """One process's access to the queue, the library and the events. Safe to use from several threads."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        self.settings = settings
        self.paths = paths
        self.on_missing: Callable[[], None] | None = None
        """Called, on any thread, when the embedded database is gone; the failed call is then tried again."""
        self.redis = connect(paths, settings.database.url, on_missing=self._missing)
        self.conversations = Conversations(self.redis, self._sync)
        self.journal = Journal(self.redis, self._sync)
        self.history = History(self.redis)
        self.trash = Trash(self.redis, self._sync)
        self.drafts = Drafts(paths.drafts)
        self.jobs = Jobs(self.redis)
        self.bus = Bus(self.redis)
        self._raw = connect(paths, settings.database.url, decode=False, on_missing=self._missing)
        self._queue = make_queue(self._raw.connection_pool, _only_in_worker, _only_in_worker)

    def close(self) -> None:
        self.jobs.close()
        self.redis.close()
        self.redis.connection_pool.disconnect()
        self._raw.connection_pool.disconnect()

    def _missing(self) -> None:
        if self.on_missing is not None:
            self.on_missing()

    def _sync(self) -> None:
        if self.settings.database.url is None:
            sync(self.paths.database / APPEND_ONLY, self.redis)

    # Submitting. Each method returns the job; `follow(job.id)` reads its output.

    def chat(self, conversation: str, text: str, *, thinking: Thinking | None = None, **sampling: Any) -> Job:
        """Store the user's message and submit a job that answers it. `sampling`: max_tokens, temperature, seed …

        Raises CharlieError for a message that is empty, too long or cannot be stored.
        """
        text = _checked(text, "message")
        with self.redis.pipeline(transaction=False) as pipe:
            take(pipe, 2)
            self._read_queue(pipe)
            pipe.hkeys(keys.messages(conversation))
            first, waiting, taken, turns = pipe.execute()
        message_id, job_id = ids_from(first, 2)
        if (last := max(turns, default="")) >= message_id:  # the clock was set back, or it is from another machine
            message_id, job_id = next_ids(self.redis, 2, after=last)
        args = self._with_sampling({"conversation": conversation, "sampling": sampling, "thinking": thinking})
        job = Job(job_id, JobKind.CHAT, args, conversation, enqueued=time.time())
        try:
            # In one MULTI, so the worker begins while the message is synced to disk.
            self.conversations.put_message(
                conversation,
                StoredMessage(message_id, "user", text),
                lambda pipe: self._add(pipe, job, waiting, taken),
            )
        except CharlieError:
            with suppress(CharlieError, redis.RedisError):
                self.cancel(job.id)
            raise
        return job

    def regenerate(self, conversation: str, **sampling: Any) -> Job:
        """Answer the user's last message again; its old replies stay until the new one is stored."""
        messages = self.conversations.messages(conversation)
        last = max((n for n, message in enumerate(messages) if message.role == "user"), default=None)
        if last is None:
            raise CharlieError("There is nothing to answer yet.", "Write a message first.")
        replaces = [message.id for message in messages[last + 1 :]]
        args = {"conversation": conversation, "sampling": sampling, "replaces": replaces}
        return self.submit(JobKind.CHAT, args, conversation, after=messages[-1].id)

    def ingest(self, entry: Entry) -> Job:
        """Index an entry: split and embed its text. A failed or skipped entry becomes a saved one until then."""
        if entry.state in (EntryState.FAILED, EntryState.SKIPPED):
            self.journal.mark_entries({entry.id: entry.revision}, EntryState.SAVED)
        return self.ingest_all([entry.id])

    def ingest_all(self, ids: Sequence[str]) -> Job:
        """Index entries in one job, many in each decode; of several, the indexed and skipped ones are left alone."""
        job = self.submit(JobKind.INGEST, {"entries": list(ids)}, ids[0] if len(ids) == 1 else "")
        self.jobs.unpark(*ids)
        return job

    def skip(self, entry: Entry) -> None:
        """Do not index a failed entry: it stays saved but is not searchable."""
        self.journal.mark_entries({entry.id: entry.revision}, EntryState.SKIPPED)
        self.jobs.unpark(entry.id)

    def search(self, query: str, limit: int = 10) -> Job:
        """Raises CharlieError for an empty query."""
        return self.submit(JobKind.SEARCH, {"query": _checked(query, "query"), "limit": limit})

    def ask(self, question: str, limit: int = 5, *, thinking: Thinking | None = None, **sampling: Any) -> Job:
        """Answer a question from the `limit` best entries of the journal. Raises CharlieError when empty."""
        args = {"query": _checked(question, "question"), "limit": limit, "sampling": sampling, "thinking": thinking}
        return self.submit(JobKind.ASK, args)

    def reflect(self) -> Job:
        """Reflect on the entries of the last seven days."""
        return self.submit(JobKind.REFLECT, {})

    def warm(self, role: Role) -> Job:
        return self.submit(JobKind.WARM, {"role": role.value}, role.value)

    def plan(self, role: Role, file: str | None = None) -> Job:
        """Plan a load of a role's model, or of `file` in its place; loads nothing."""
        return self.submit(JobKind.PLAN, {"role": role.value, "file": file}, role.value)

    def unload(self, role: Role | None = None) -> Job:
        """Unload a role's model, or all models without a role."""
        return self.submit(JobKind.UNLOAD, {"role": role and role.value}, role.value if role else "")

    def submit(self, kind: JobKind, args: dict[str, Any], subject: str = "", after: str = "") -> Job:
        with self.redis.pipeline(transaction=False) as pipe:
            take(pipe, 1, after)
            self._read_queue(pipe)
            first, waiting, taken = pipe.execute()
        job = Job(ids_from(first, 1)[0], kind, self._with_sampling(args), subject, enqueued=time.time())
        with self.redis.pipeline(transaction=True) as pipe:
            self._add(pipe, job, waiting, taken)
            pipe.execute()
        return job

    def _with_sampling(self, args: dict[str, Any]) -> dict[str, Any]:
        """Adds this process's own sampling settings, which win over the worker's."""
        if "sampling" not in args:
            return args
        own = self.settings.instruct.sampling.model_dump(exclude_unset=True)
        return {**args, "sampling": {**own, **args["sampling"]}}

    def _read_queue(self, pipe: Any) -> None:
        """Ask for the number of waiting messages and for the taken ones."""
        pipe.llen(self._queue.storage.queue_key)
        pipe.lrange(self._queue.storage.processing_key, 0, -1)

    def _add(self, pipe: Any, job: Job, waiting: int, taken: Sequence[str]) -> None:
        """In one transaction, so nobody sees the queue's message without the job's record."""
        self.jobs.add(pipe, job)
        self.bus.add(pipe, QueueChanged(waiting + 1, next(iter(job_ids(taken)), None)))
        enqueue(self._queue, job.kind, job.id, pipe)

    # Following and cancelling.

    def follow(self, job_id: str, stop: Callable[[], bool] = lambda: False) -> Iterator[Output | None]:
        """The job's output from its beginning; see Jobs.follow. Raises NotFoundError."""
        return self.jobs.follow(job_id, stop)

    def cancel(self, job_id: str) -> bool:
        """Cancel a waiting or running job; False when it had ended already. Raises NotFoundError."""
        job = self.jobs.get(job_id)
        if job.state.ended:
            return False
        self.jobs.ask_to_stop(job_id)
        withdrawn = withdraw(self._queue, job.kind, job_id)
        if withdrawn:
            self.jobs.end(job_id, Ended(JobState.CANCELLED), {JobState.QUEUED})
            self.bus.publish(QueueChanged(*self.depth()))
        return True

    def drop_reply(self, conversation: str) -> str:
        """Delete the user's last message if it has no reply; returns its text."""
        messages = self.conversations.messages(conversation)
        if not messages or messages[-1].role != "user":
            return ""
        self.conversations.delete_messages(conversation, [messages[-1].id])
        return messages[-1].text

    def queue(self, limit: int | None = None) -> list[QueuedJob]:
        """The running job, then the waiting ones in order; at most `limit` of these."""
        storage = self._queue.storage
        waiting = job_ids(storage.enqueued_items(limit))
        taken = job_ids(storage.unacknowledged())
        jobs = {job.id: job for job in self.jobs.find_all([*taken, *waiting])}
        usual = self.jobs.durations()
        wait, known = 0.0, True
        listed: list[QueuedJob] = []
        for position, id_ in enumerate([*taken, *waiting], start=0 if taken else 1):
            if (job := jobs.get(id_)) is None or job.state.ended:  # it has just ended, and is not acknowledged yet
                continue
            listed.append(QueuedJob(job, position, wait if known else None, len(listed)))
            known = known and job.kind in usual
            wait += usual.get(job.kind, 0.0)
        return listed

    def positions(self, ids: Collection[str]) -> list[QueuedJob]:
        """Those of these jobs that run or wait. The length of the queue hardly changes the time this takes."""
        head = self.queue(HEAD)
        found = [each for each in head if each.job.id in ids]
        for job in self.jobs.find_all(set(ids) - {each.job.id for each in head}):
            before = waiting_before(self._queue, job.kind, job.id)
            if before is not None:
                found.append(QueuedJob(job, before + 1, None, before + sum(each.position == 0 for each in head)))
        return found

    def depth(self) -> tuple[int, str | None]:
        """The number of waiting jobs, and the id of the running one."""
        with self.redis.pipeline(transaction=True) as pipe:
            self._read_queue(pipe)
            waiting, taken = pipe.execute()
        return waiting, next(iter(job_ids(taken)), None)

    def refused(self, last: int = 1) -> tuple[int, list[str]]:
        """The number of foreign messages found in the queue, and the `last` of them as lines of plain text."""
        count, messages = self._queue.storage.refused(last)
        return count, [one_line(data.decode("utf-8", "backslashreplace"), REFUSED_WIDTH) for data in messages]

    def snapshot(self) -> Snapshot:
        return self.bus.snapshot()

    def reply(self, job: Job) -> StoredMessage | None:
        """The stored reply of an ended chat job."""
        return next((m for m in self.conversations.messages(job.subject) if m.id == job.id), None)


def _checked(text: str, what: str) -> str:
    text = as_stored(text)
    if not text.strip():
        raise CharlieError(f"The {what} is empty.", "Write something first.")
    if len(text) > MAX_CHARACTERS:
        raise CharlieError(f"The {what} has {len(text):,} characters; the most is {MAX_CHARACTERS:,}.")
    return text


def _only_in_worker(*_: str) -> None:
    raise AssertionError("only the worker's process runs jobs")
