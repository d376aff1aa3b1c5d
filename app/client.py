"""Asks the queue for work and follows it. Every call blocks for about a millisecond; follow() blocks until the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from core.bus import Bus
from core.database import APPEND_ONLY, connect, read_address
from core.durable import sync
from core.errors import CharlieError
from core.events import QueueChanged, Snapshot
from core.ids import next_ids
from core.library import Entry, EntryState, Library, StoredMessage
from core.session_files import forget, forget_journal
from core.settings import Role
from core.text import clean, one_line
from tasks.jobs import Ended, Job, JobKind, Jobs, JobState, Output
from tasks.queue import enqueue, job_ids, make_queue, waiting_before, withdraw

if TYPE_CHECKING:
    from core.paths import Paths
    from core.settings import Settings

HEAD = 100
"""So many of the jobs that wait are looked at one by one where only a place in a long queue is asked for."""
REFUSED_WIDTH = 80
LONGEST_ENTRY = 16 * 1024**2
"""Characters of one message or entry."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that runs (position 0) or waits (1 is next), and the seconds until it starts, as far as is known."""

    job: Job
    position: int
    wait: float | None
    ahead: int
    """How many are before it, with the one that runs."""


class Client:
    """One process's view of the queue, the library and the events. Safe to use from several threads."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        self.settings = settings
        self.paths = paths
        self.on_missing: Callable[[], None] | None = None
        """Called by whichever thread finds the embedded database gone; the call that it made is tried again then."""
        self.redis = connect(paths, settings.database.url, on_missing=self._missing)
        self.library = Library(self.redis, self._sync)
        self.jobs = Jobs(self.redis)
        self.bus = Bus(self.redis)
        self._raw = connect(paths, settings.database.url, decode=False, on_missing=self._missing)
        self._queue = make_queue(self._raw.connection_pool, _not_here, _not_here)

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

    def database_pid(self) -> int | None:
        """None when the database is a server at `database.url`."""
        address = None if self.settings.database.url else read_address(self.paths)
        return address.pid if address else None

    # Asking for work. Each returns the job, whose output `follow(job.id)` reads.

    def chat(self, conversation: str, text: str, **sampling: Any) -> Job:
        """Store what the person wrote, then have it answered. `sampling`: max_tokens, temperature, seed …

        Raises CharlieError for an empty or an immense message.
        """
        _check(text, "message")
        message_id, job_id = next_ids(self.redis, 2, after=self.library.last_message(conversation))
        args = self._told({"conversation": conversation, "sampling": sampling})
        job = Job(job_id, JobKind.CHAT, args, conversation, enqueued=time.time())
        try:
            # In one MULTI, so the worker begins while the message is brought to the disk.
            self.library.put_message(
                conversation, StoredMessage(message_id, "user", text), lambda pipe: self._add(pipe, job)
            )
        except CharlieError:
            with suppress(CharlieError, redis.RedisError):
                self.cancel(job.id)
            raise
        self.bus.publish(QueueChanged(*self.depth()))
        return job

    def regenerate(self, conversation: str, **sampling: Any) -> Job:
        """Have the last message of the person's answered again; the replies to it stay until the new one is stored."""
        messages = self.library.messages(conversation)
        last = max((n for n, message in enumerate(messages) if message.role == "user"), default=None)
        if last is None:
            raise CharlieError("There is nothing to answer yet.", "Write a message first.")
        replaces = [message.id for message in messages[last + 1 :]]
        args = {"conversation": conversation, "sampling": sampling, "replaces": replaces}
        return self.submit(JobKind.CHAT, args, conversation, after=messages[-1].id)

    def ingest(self, entry: Entry) -> Job:
        """Have an entry's text split, embedded and made findable. One that failed has failed no more; it waits."""
        if entry.state in (EntryState.FAILED, EntryState.DROPPED):
            self.library.mark_entry(entry.id, entry.revision, EntryState.SAVED)
        return self.ingest_all([entry.id])

    def ingest_all(self, ids: Sequence[str]) -> Job:
        """Have entries read in by one job, many in each decode; those of several that are findable are left alone."""
        job = self.submit(JobKind.INGEST, {"entries": list(ids)}, ids[0] if len(ids) == 1 else "")
        self.jobs.release(*ids)
        return job

    def drop(self, entry: Entry) -> None:
        """Leave an entry that failed: it stays saved, and is neither read in by itself nor found."""
        self.library.mark_entry(entry.id, entry.revision, EntryState.DROPPED)
        self.jobs.release(entry.id)

    def search(self, query: str, limit: int = 10) -> Job:
        """Raises CharlieError for an empty query."""
        _check(query, "query")
        return self.submit(JobKind.SEARCH, {"query": clean(query), "limit": limit})

    def ask(self, question: str, limit: int = 5, **sampling: Any) -> Job:
        """A question to the journal, answered from the `limit` best entries. Raises CharlieError when empty."""
        _check(question, "question")
        return self.submit(JobKind.ASK, {"query": clean(question), "limit": limit, "sampling": sampling})

    def reflect(self) -> Job:
        """A look back on the entries of the last seven days."""
        return self.submit(JobKind.REFLECT, {})

    def warm(self, role: Role) -> Job:
        return self.submit(JobKind.WARM, {"role": role.value}, role.value)

    def plan(self, role: Role, file: str | None = None) -> Job:
        """What loading a role's model would need and do now, or another file in its place; loads nothing."""
        return self.submit(JobKind.PLAN, {"role": role.value, "file": file}, role.value)

    def unload(self) -> Job:
        return self.submit(JobKind.UNLOAD, {})

    def submit(self, kind: JobKind, args: dict[str, Any], subject: str = "", after: str = "") -> Job:
        job = self.jobs.new(kind, self._told(args), subject, after)
        with self.redis.pipeline(transaction=True) as pipe:
            self._add(pipe, job)
            pipe.lrange(self._queue.storage.processing_key, 0, -1)
            *_, waiting, taken = pipe.execute()
        self.bus.publish(QueueChanged(waiting, self._running(taken)))
        return job

    def _told(self, args: dict[str, Any]) -> dict[str, Any]:
        """With what this process was told (its environment, its file) of sampling, whatever the worker was told."""
        if "sampling" not in args:
            return args
        own = self.settings.instruct.sampling.model_dump(exclude_unset=True)
        return {**args, "sampling": {**own, **args["sampling"]}}

    def _add(self, pipe: Any, job: Job) -> None:
        """At once: whoever takes the message finds the record, and nobody sees the one without the other."""
        self.jobs.add(pipe, job)
        enqueue(self._queue, job.kind, job.id, pipe)

    # Following and stopping it.

    def follow(self, job_id: str, stop: Callable[[], bool] = lambda: False) -> Iterator[Output | None]:
        """The job's output from its beginning; see Jobs.follow. Raises NotFoundError."""
        return self.jobs.follow(job_id, stop)

    def cancel(self, job_id: str) -> bool:
        """Stop a job in whatever phase it is; False when it had ended already. Raises NotFoundError."""
        job = self.jobs.get(job_id)
        if job.state.ended:
            return False
        self.jobs.ask_to_stop(job_id)
        withdrawn = withdraw(self._queue, job.kind, job_id)
        if withdrawn:
            self.jobs.end(job_id, Ended(JobState.CANCELLED), {JobState.QUEUED})
            self.bus.publish(QueueChanged(*self.depth()))
        return True

    def delete_conversation(self, id_: str) -> None:
        """With what models have read of it."""
        self.library.delete_conversation(id_)
        forget(self.paths.sessions, id_)

    def delete_entry(self, id_: str) -> None:
        """With what models have read of it."""
        self.library.delete_entry(id_)
        forget_journal(self.paths.sessions)

    def drop_reply(self, conversation: str) -> str:
        """Take back the last message of the person's, if nothing answers it; returns its text."""
        messages = self.library.messages(conversation)
        if not messages or messages[-1].role != "user":
            return ""
        self.library.delete_messages(conversation, [messages[-1].id])
        return messages[-1].text

    def queue(self, limit: int | None = None) -> list[QueuedJob]:
        """What runs, then what waits, in order; of what waits the next `limit`."""
        storage = self._queue.storage
        waiting = job_ids(self._queue, storage.enqueued_items(limit))
        taken = job_ids(self._queue, storage.unacknowledged())
        jobs = {job.id: job for job in self.jobs.find_all([*taken, *waiting])}
        usual = self.jobs.durations()
        wait, known = 0.0, True
        listed: list[QueuedJob] = []
        for position, id_ in enumerate([*taken, *waiting], start=0 if taken else 1):
            if (job := jobs.get(id_)) is None or job.state.ended:  # one that has just ended is not acknowledged yet
                continue
            listed.append(QueuedJob(job, position, wait if known else None, len(listed)))
            known = known and job.kind in usual
            wait += usual.get(job.kind, 0.0)
        return listed

    def places(self, ids: Collection[str]) -> list[QueuedJob]:
        """These jobs as far as they run or wait; about as quick however long the queue is."""
        head = self.queue(HEAD)
        found = [each for each in head if each.job.id in ids]
        for job in self.jobs.find_all(set(ids) - {each.job.id for each in head}):
            before = waiting_before(self._queue, job.kind, job.id)
            if before is not None:
                found.append(QueuedJob(job, before + 1, None, before + sum(each.position == 0 for each in head)))
        return found

    def depth(self) -> tuple[int, str | None]:
        """How many jobs wait, and which one runs."""
        storage = self._queue.storage
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.llen(storage.queue_key)
            pipe.lrange(storage.processing_key, 0, -1)
            waiting, taken = pipe.execute()
        return waiting, self._running(taken)

    def refused(self, last: int = 1) -> tuple[int, list[str]]:
        """How many messages in the queue were not Charlie's, and the `last` of them, each as a line of plain text."""
        count, messages = self._queue.storage.refused(last)
        return count, [one_line(data.decode("utf-8", "backslashreplace"), REFUSED_WIDTH) for data in messages]

    def snapshot(self) -> Snapshot:
        return self.bus.snapshot()

    def reply(self, job: Job) -> StoredMessage | None:
        """The stored reply of a chat job that has ended."""
        return next((m for m in self.library.messages(job.subject) if m.id == job.id), None)

    def _running(self, taken: Sequence[str | bytes]) -> str | None:
        return next(iter(job_ids(self._queue, taken)), None)


def _check(text: str, what: str) -> None:
    if not text.strip():
        raise CharlieError(f"The {what} is empty.", "Write something first.")
    if len(text) > LONGEST_ENTRY:
        raise CharlieError(f"The {what} has {len(text):,} characters; at most {LONGEST_ENTRY:,} are taken.")


def _not_here(*_: str) -> None:
    raise AssertionError("work is done by the worker's process alone")
