"""The Huey queue: strict FIFO, plain JSON messages, and a taken job is not gone until it is acknowledged."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from huey import Huey
from redis import ConnectionPool

from core.events.types import JobKind
from tasks.queue.messages import EVICT, PREFIX, JsonMessages, eviction_message, job_message
from tasks.queue.storage import ProcessingStorage

log = logging.getLogger(__name__)

FINISH = signal.SIGUSR1
"""The signal that ends a worker after its running job; SIGTERM interrupts the job."""


class Queue(Huey):  # type: ignore[misc]  # huey has no types
    """Huey with acknowledgement: `dequeue` keeps the raw message, `execute` acknowledges it at its end."""

    storage_class = ProcessingStorage
    closing = False
    """Set when the worker ends: messages taken from now on go back to the head of the queue, for the next worker."""

    def waiting_or_closing(self) -> bool:
        """Whether optional work must stop: a job waits, or the worker ends."""
        return self.closing or self.storage.queue_size() > 0

    def dequeue(self) -> Any:
        data = self.storage.dequeue()
        if data is None:
            return None
        try:
            task = self.deserialize_task(data)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the next message follows at once
            self.storage.reject(data)
            log.warning("A message in the queue was rejected (%.100r): %.100r", error, data[:100])
            return None
        task.message = data
        return task

    def is_revoked(self, task: Any, timestamp: datetime | None = None, peek: bool = True) -> bool:  # noqa: ARG002
        """Never: a job is cancelled by its record and its flag. Huey would ask Redis once for each task."""
        return False

    def execute(self, task: Any, timestamp: datetime | None = None) -> Any:
        message = getattr(task, "message", None)
        if self.closing and message:
            self.storage.put_back(message)
            return None
        result = super().execute(task, timestamp)
        if message:
            self.storage.acknowledge(message)
        return result


def make_queue(pool: ConnectionPool, run: Callable[[str], None], evict: Callable[[], None]) -> Queue:
    """The queue of one database, with a task for each kind of job. `pool` must not decode responses.

    The worker passes `run` and `evict`; a client passes functions that are never called.
    """
    queue = Queue("charlie", results=False, serializer=JsonMessages(), connection_pool=pool)

    def run_job(job_id: str) -> None:
        run(job_id)

    def run_eviction() -> None:
        evict()

    # Huey names a task after its function's module.
    run_job.__module__ = run_eviction.__module__ = PREFIX
    for kind in JobKind:
        queue.task(name=kind.value)(run_job)
    queue.task(name=EVICT)(run_eviction)
    return queue


def enqueue(queue: Queue, kind: JobKind, job_id: str, pipe: Any) -> None:
    """Put a job into the queue with the caller's pipeline, which answers with the new length of the queue."""
    pipe.lpush(queue.storage.queue_key, job_message(kind, job_id))


def withdraw(queue: Queue, kind: JobKind, job_id: str) -> bool:
    """Remove a job that has not started from the queue."""
    return bool(queue.storage.conn.lrem(queue.storage.queue_key, 1, job_message(kind, job_id)))


def waiting_before(queue: Queue, kind: JobKind, job_id: str) -> int | None:
    """The number of messages ahead of a waiting job; None when it does not wait."""
    with queue.storage.conn.pipeline(transaction=True) as pipe:
        pipe.lpos(queue.storage.queue_key, job_message(kind, job_id), -1)
        pipe.llen(queue.storage.queue_key)
        index, length = pipe.execute()
    return None if index is None else length - 1 - index


def put_back(queue: Queue, kind: JobKind, job_id: str) -> None:
    """Return a taken job to the head of the queue."""
    queue.storage.put_back(job_message(kind, job_id))


def replace_taken(queue: Queue, message: bytes, kind: JobKind, ids: Sequence[str], pipe: Any) -> None:
    """Put jobs at the head of the queue in place of a taken message, with the caller's pipeline."""
    for id_ in reversed(ids):
        pipe.rpush(queue.storage.queue_key, job_message(kind, id_))
    pipe.lrem(queue.storage.processing_key, 1, message)


def schedule_eviction(queue: Queue, due: datetime) -> None:
    """Have `evict_idle` take its turn in the queue once `due` (naive, UTC) has passed. Replaces an earlier schedule."""
    queue.storage.flush_schedule()
    queue.storage.add_to_schedule(eviction_message(due), due)
