"""The Huey queue: strict FIFO, plain JSON messages, and a taken job is not gone until it is acknowledged."""

from __future__ import annotations

import json
import logging
import re
import signal
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from huey import Huey
from huey.registry import Message
from huey.serializer import Serializer
from huey.storage import RedisStorage

from tasks.jobs import JobKind

if TYPE_CHECKING:
    from redis import ConnectionPool

log = logging.getLogger(__name__)

EVICT = "evict_idle"
REJECTED = "charlie:rejected"
REJECTED_KEPT = 100
REJECTED_BYTES = 64 * 1024
"""So much of the beginning of a refused message is kept; it may be of any length."""
REFUSED = "charlie:refused"
"""How many messages were refused ever."""
JOB_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
FINISH = signal.SIGUSR1
"""What tells a worker to end once its running job has; SIGTERM interrupts the job."""
POLL_SECONDS = 0.25
"""A worker that is told to end notices it at most this late."""
TASKS = frozenset(f"{__name__}.{kind.value}" for kind in JobKind)
EVICTION = f"{__name__}.{EVICT}"


class JsonMessages(Serializer):  # type: ignore[misc]  # huey has no types
    """A message is a task's name, its id, plain arguments, and the time it is due, if any."""

    def _serialize(self, data: Any) -> bytes:
        if not isinstance(data, Message):
            return json.dumps(data).encode()
        eta = data.eta.isoformat() if data.eta else None
        return json.dumps({"id": data.id, "name": data.name, "args": list(data.args or ()), "eta": eta}).encode()

    def _deserialize(self, data: bytes) -> Any:
        message = json.loads(data)
        if not isinstance(message, dict) or set(message) != {"id", "name", "args", "eta"}:
            raise ValueError("it has other fields")
        id_, name, args, eta = message["id"], message["name"], message["args"], message["eta"]
        if name == EVICTION:
            if (id_, args) != (EVICT, []) or not isinstance(eta, str | None):
                raise ValueError("it is no eviction")
        elif name not in TASKS:
            raise ValueError("there is no such task")
        elif not (isinstance(id_, str) and JOB_ID.fullmatch(id_)) or args != [id_] or eta is not None:
            raise ValueError("it is no job")
        due = None if eta is None else datetime.fromisoformat(eta)
        if due is not None and due.tzinfo is not None:  # Huey's own times have no zone, and cannot be compared
            raise ValueError("its time has a zone")
        return Message(id_, name, due, 0, 0, None, tuple(args), {})


class ProcessingStorage(RedisStorage):  # type: ignore[misc]  # huey has no types
    """What is taken from the queue stays in a processing list until it is acknowledged."""

    @property
    def processing_key(self) -> str:
        return f"{self.queue_key}.processing"

    def dequeue(self) -> bytes | None:
        taken: bytes | None = self.conn.blmove(self.queue_key, self.processing_key, POLL_SECONDS, "RIGHT", "LEFT")
        return taken

    def acknowledge(self, data: bytes) -> None:
        self.conn.lrem(self.processing_key, 1, data)

    def withdraw(self, data: bytes) -> bool:
        """Take a message that has not started out of the queue."""
        return bool(self.conn.lrem(self.queue_key, 1, data))

    def before(self, data: bytes) -> int | None:
        """How many messages are taken before this one; None when it does not wait."""
        with self.conn.pipeline(transaction=True) as pipe:
            pipe.lpos(self.queue_key, data, -1)
            pipe.llen(self.queue_key)
            index, length = pipe.execute()
        return None if index is None else length - 1 - index

    def set_aside(self, data: bytes) -> None:
        with self.conn.pipeline(transaction=True) as pipe:
            pipe.lrem(self.processing_key, 1, data)
            pipe.lpush(REJECTED, data[:REJECTED_BYTES])
            pipe.ltrim(REJECTED, 0, REJECTED_KEPT - 1)
            pipe.incr(REFUSED)
            pipe.execute()

    def refused(self, last: int) -> tuple[int, list[bytes]]:
        """How many messages were refused ever, and the `last` of them, the latest first."""
        with self.conn.pipeline(transaction=True) as pipe:
            pipe.get(REFUSED)
            pipe.lrange(REJECTED, 0, last - 1)
            count, messages = pipe.execute()
        return int(count or 0), messages

    def unacknowledged(self) -> list[bytes]:
        """What a worker had taken when it died, the first taken last."""
        found: list[bytes] = self.conn.lrange(self.processing_key, 0, -1)
        return found

    def put_back(self, data: bytes) -> None:
        """Return a taken message to the head of the queue."""
        with self.conn.pipeline(transaction=True) as pipe:
            pipe.lrem(self.processing_key, 1, data)
            pipe.rpush(self.queue_key, data)
            pipe.execute()


class Queue(Huey):  # type: ignore[misc]  # huey has no types
    """Huey with acknowledgement: `dequeue` remembers the raw message, `execute` acknowledges it at its end."""

    storage_class = ProcessingStorage
    closing = False
    """The worker is to end: what it takes from now on goes back to the head of the queue, for the next worker."""

    def dequeue(self) -> Any:
        data = self.storage.dequeue()
        if data is None:
            return None
        try:
            task = self.deserialize_task(data)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the next one has its turn at once
            self.storage.set_aside(data)
            log.warning("A message in the queue was refused (%.100r): %.100r", error, data[:100])
            return None
        task.message = data
        return task

    def is_revoked(self, task: Any, timestamp: datetime | None = None, peek: bool = True) -> bool:  # noqa: ARG002
        """Never: a job is stopped by its record and its flag, and what Huey would look up costs a round trip."""
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
    """The queue over one database, with a task for each kind of job. `pool` must not decode responses.

    `run` and `evict` do the work; a process that only asks for work passes functions that are never called.
    """
    queue = Queue("charlie", results=False, serializer=JsonMessages(), connection_pool=pool)

    def run_job(job_id: str) -> None:
        run(job_id)

    def run_eviction() -> None:
        evict()

    for kind in JobKind:
        queue.task(name=kind.value)(run_job)
    queue.task(name=EVICT)(run_eviction)
    return queue


def enqueue(queue: Queue, kind: JobKind, job_id: str, pipe: Any) -> None:
    """Put a job into the queue by a pipeline of the caller's; its answer is how many wait then."""
    pipe.lpush(queue.storage.queue_key, _message(queue, kind, job_id))


def withdraw(queue: Queue, kind: JobKind, job_id: str) -> bool:
    """Take a job that has not started out of the queue."""
    message = _message(queue, kind, job_id)
    return bool(queue.storage.withdraw(message))


def waiting_before(queue: Queue, kind: JobKind, job_id: str) -> int | None:
    """How many are before a job that waits; None when it does not."""
    before: int | None = queue.storage.before(_message(queue, kind, job_id))
    return before


def put_back(queue: Queue, kind: JobKind, job_id: str) -> None:
    """Return a job that the worker has taken to the head of the queue."""
    queue.storage.put_back(_message(queue, kind, job_id))


def put_in_place(queue: Queue, kind: JobKind, ids: Sequence[str], message: bytes, pipe: Any) -> None:
    """By a pipeline of the caller's, put jobs at the head of the queue in place of a message that was taken."""
    for id_ in reversed(ids):
        pipe.rpush(queue.storage.queue_key, _message(queue, kind, id_))
    pipe.lrem(queue.storage.processing_key, 1, message)


def schedule_eviction(queue: Queue, due: datetime) -> None:
    """Have `evict_idle` take its turn in the queue once `due` (naive, UTC) has passed. One is scheduled at a time."""
    queue.storage.flush_schedule()
    task = _task(queue, EVICT, EVICT, ())
    task.eta = due
    queue.add_schedule(task)


def job_ids(queue: Queue, messages: Iterable[bytes | str]) -> list[str]:
    """The jobs that messages stand for. Evictions are not jobs, nor is what others have put into the queue."""
    found = []
    for message in messages:
        try:
            read = queue.serializer.deserialize(message)
        except Exception:  # noqa: BLE001, S112  # the worker sets it aside when its turn comes
            continue
        if read.args:
            found.append(read.id)
    return found


def _message(queue: Queue, kind: JobKind, job_id: str) -> bytes:
    message: bytes = queue.serialize_task(_task(queue, kind.value, job_id, (job_id,)))
    return message


def _task(queue: Queue, name: str, id_: str, args: tuple[str, ...]) -> Any:
    registry = queue._registry  # noqa: SLF001  # huey offers no look-up by name
    return registry.string_to_task(f"{__name__}.{name}")(args, {}, id=id_)
