"""Jobs: what was asked of the worker, how far it is, and what it put out. The one record all processes share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as Late

from core.bus import JOBS, KEPT
from core.database import impatient
from core.errors import CharlieError, NotFoundError
from core.events import JobChanged, encode
from core.ids import next_id

if TYPE_CHECKING:
    from core.database import RedisClient

CANCEL = "charlie:cancel"
DURATIONS = "charlie:durations"
SET_ASIDE = "charlie:set-aside"
"""The jobs that ended the worker too often, by what they are about; they stay until somebody decides."""
KEPT_SECONDS = 24 * 3600
"""How long the record and output of a job that has ended are kept."""
TRIES = 100
"""How often a job's record is written anew because another process was quicker."""
_IF_STILL = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local at = 2
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
return 1
"""
"""Carries out commands, each given as the number of its parts and these, if a record is still what it was."""
BATCH_SECONDS = 0.08
"""Text is sent at most this much later than it was made; the first piece at once. Each sending holds up the cores."""


class JobKind(StrEnum):
    CHAT = "chat_response"
    INGEST = "ingest_entry"
    SEARCH = "search_journal"
    ASK = "ask_journal"
    REFLECT = "reflect"
    DESCRIBE = "describe_entries"
    WARM = "warm"
    UNLOAD = "unload"
    PLAN = "plan"


class JobState(StrEnum):
    QUEUED = "queued"
    WAITING = "waiting"
    """Taken by the worker, and waiting for its model to be warm."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The worker ended while it ran; it can be asked for again."""

    @property
    def ended(self) -> bool:
        return self in ENDED


ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED})
TAKEN = frozenset({JobState.WAITING, JobState.RUNNING})
UNENDED = TAKEN | {JobState.QUEUED}


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work. `args` are ids and numbers; times are seconds since the epoch."""

    id: str
    kind: JobKind
    args: dict[str, Any]
    subject: str = ""
    state: JobState = JobState.QUEUED
    attempts: int = 0
    enqueued: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """The next piece of a completion."""

    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that a search found: the chunk that matched, its similarity (cosine) and its relevance (0 to 1)."""

    entry: str
    title: str
    chunk: str
    similarity: float
    relevance: float | None = None


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found so far: first the nearest, then once more when the reranker has answered."""

    hits: tuple[Hit, ...]
    reranked: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The last record of every output."""

    state: JobState
    result: dict[str, Any] | None = None
    error: str = ""
    hint: str = ""


Output = Text | Hits | Ended


def _nothing(pipe: Any) -> None:  # noqa: ARG001
    return


class Jobs:
    """The jobs in the database. `redis` must decode responses."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self._reader = impatient(redis)
        self._written = 0

    def close(self) -> None:
        """Close the connections that `follow` has opened."""
        self._reader.connection_pool.disconnect()

    def create(self, kind: JobKind, args: dict[str, Any], subject: str = "", after: str = "") -> Job:
        """A new job, whose id sorts behind all others and behind the message `after`."""
        job = self.new(kind, args, subject, after)
        with self.redis.pipeline(transaction=True) as pipe:
            self.add(pipe, job)
            pipe.execute()
        return job

    def new(self, kind: JobKind, args: dict[str, Any], subject: str = "", after: str = "") -> Job:
        """The same, not written yet."""
        return Job(next_id(self.redis, after), kind, args, subject, enqueued=time.time())

    def add(self, pipe: Any, job: Job) -> None:
        """Write a new job by a MULTI of the caller's."""
        self._write(pipe, job)

    def find(self, id_: str) -> Job | None:
        found = self.redis.get(_key(id_))
        return _job(found) if found else None

    def get(self, id_: str) -> Job:
        """Raises NotFoundError."""
        if job := self.find(id_):
            return job
        raise NotFoundError(f"There is no job {id_!r}.", "`charlie ps` shows those that wait and run.")

    def find_all(self, ids: Collection[str]) -> list[Job]:
        found = self.redis.mget([_key(id_) for id_ in ids]) if ids else []
        return [_job(text) for text in found if text]

    def advance(
        self,
        id_: str,
        to: JobState,
        expect: Collection[JobState],
        known: Job | None = None,
        also: Callable[[Any], None] = _nothing,
        **changes: Any,
    ) -> Job | None:
        """Move a job on if it is in one of the states `expect`; returns it as it is then, else None.

        Record and event are written at once, and only if nobody has written the record meanwhile, so two processes
        can never both move it. `known` is what the caller takes the record to be, which saves reading it.
        `also` may add commands that are carried out with it.
        """
        return self._move(id_, to, expect, changes, None, known=known, also=also)

    def _move(
        self,
        id_: str,
        to: JobState,
        expect: Collection[JobState],
        changes: dict[str, Any],
        ended: Ended | None,
        *,
        aside: bool = False,
        known: Job | None = None,
        also: Callable[[Any], None] = _nothing,
    ) -> Job | None:
        found = _record(known) if known else self.redis.get(_key(id_))
        moved: Job | None = None
        for _ in range(TRIES):
            if moved is not None and found == _record(moved):  # done before, and the answer was lost
                return moved
            if not found or (job := _job(found)).state not in expect:
                return None
            moved = replace(job, state=to, **changes)
            with self.redis.pipeline() as pipe:
                self._write(pipe, moved)
                if ended is not None:
                    _close(pipe, id_, ended)
                if aside:
                    pipe.hset(SET_ASIDE, moved.subject, _record(moved))
                also(pipe)
                commands = [part for command, _ in pipe.command_stack for part in (len(command), *command)]
            if self.redis.eval(_IF_STILL, 1, _key(id_), found, *commands):
                return moved
            found = self.redis.get(_key(id_))
        raise CharlieError(f"The record of the job {id_} cannot be written.", "Its place in the database is damaged.")

    def end(self, id_: str, ended: Ended, expect: Collection[JobState] = TAKEN) -> Job | None:
        """Move a job to its last state and close its output; None when it had ended already."""
        changes = {"ended": time.time(), "error": ended.error, "hint": ended.hint}
        return self._move(id_, ended.state, expect, changes, ended)

    def set_aside(self, id_: str, ended: Ended) -> Job | None:
        """End a job that is not to be run again by itself, and keep a record of it that does not expire."""
        changes = {"ended": time.time(), "error": ended.error, "hint": ended.hint}
        return self._move(id_, ended.state, TAKEN, changes, ended, aside=True)

    def split(self, job: Job, parts: Collection[Job], ended: Ended, also: Callable[[Any], None]) -> None:
        """End a job that nobody works on any more and write those that take its place, in one MULTI with `also`."""
        with self.redis.pipeline(transaction=True) as pipe:
            for each in parts:
                self._write(pipe, each)
            self._write(pipe, replace(job, state=ended.state, ended=time.time(), error=ended.error, hint=ended.hint))
            _close(pipe, job.id, ended)
            also(pipe)
            pipe.execute()

    def aside(self) -> list[Job]:
        """Those that are set aside, the oldest first."""
        return sorted(map(_job, self.redis.hvals(SET_ASIDE)), key=lambda job: job.id)

    def release(self, *subjects: str) -> None:
        """What is about these is set aside no more: somebody asked for it again, dropped it, or deleted it."""
        self.redis.hdel(SET_ASIDE, *subjects)

    def ask_to_stop(self, id_: str) -> None:
        """Raise the job's cancel flag; the worker sees it within some milliseconds."""
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.set(_cancel(id_), "1", ex=KEPT_SECONDS)
            pipe.publish(CANCEL, id_)
            pipe.execute()

    def asked_to_stop(self, id_: str) -> bool:
        return bool(self.redis.exists(_cancel(id_)))

    def look_up(self, id_: str) -> tuple[Job | None, bool]:
        """A job, and whether it was asked to stop: what `find` and `asked_to_stop` say, in one round trip."""
        with self.redis.pipeline(transaction=False) as pipe:
            pipe.get(_key(id_))
            pipe.exists(_cancel(id_))
            found, asked = pipe.execute()
        return _job(found) if found else None, bool(asked)

    def write(self, id_: str, output: Text | Hits) -> None:
        """Add to a job's output; one process, one thread writes it."""
        # With an id of ours, a record that is sent again because its answer was lost is refused, not doubled.
        self._written = max(self._written + 1, time.time_ns() // 1_000_000)
        try:
            self.redis.xadd(_out(id_), {"record": _encode(output)}, id=f"{self._written}-0")
        except ResponseError as error:
            if "equal or smaller" not in str(error):
                raise

    def written(self, id_: str) -> str:
        """All text that a job has put out so far."""
        outputs = (_decode(values["record"]) for _, values in self.redis.xrange(_out(id_)))
        return "".join(output.text for output in outputs if isinstance(output, Text))

    def follow(self, id_: str, stop: Callable[[], bool] = lambda: False) -> Iterator[Output | None]:
        """The output from its beginning to its Ended record; None about five times a second while it waits.

        A reader that comes late reads from the beginning. Survives a database that goes and comes back.
        Raises NotFoundError.
        """
        last, known = "0-0", False
        while not stop():
            try:
                found = self._reader.xread({_out(id_): last}, block=200)
            except (Lost, Late):
                time.sleep(0.1)
                found = None
            if not found:
                if not known:
                    self.get(id_)
                    known = True
                yield None
                continue
            known = True
            for key, values in found[0][1]:
                last = key
                output = _decode(values["record"])
                yield output
                if isinstance(output, Ended):
                    return

    def durations(self) -> dict[str, float]:
        """Seconds that a job of each kind took lately."""
        return {kind: float(value) for kind, value in self.redis.hgetall(DURATIONS).items()}

    def measure(self, kind: JobKind, seconds: float) -> None:
        """Fold one measured time into the moving average (weight 0.3) that estimates are made from."""
        old = self.redis.hget(DURATIONS, kind)
        self.redis.hset(DURATIONS, kind, str(seconds if old is None else 0.7 * float(old) + 0.3 * seconds))

    def _write(self, pipe: Any, job: Job) -> None:
        pipe.set(_key(job.id), _record(job))
        event = JobChanged(job.id, job.kind, job.state.value, job.subject, job.error, job.hint)
        pipe.xadd(JOBS, {"event": encode(event)}, maxlen=KEPT, approximate=True)


def _close(pipe: Any, id_: str, ended: Ended) -> None:
    """In the same MULTI as the last state: whoever follows the job always comes to its end."""
    pipe.xadd(_out(id_), {"record": _encode(ended)})
    pipe.expire(_out(id_), KEPT_SECONDS)
    pipe.expire(_key(id_), KEPT_SECONDS)
    pipe.delete(_cancel(id_))


class TextWriter:
    """Sends a completion's text in batches: the first piece at once, later ones every BATCH_SECONDS."""

    def __init__(self, jobs: Jobs, id_: str) -> None:
        self._jobs = jobs
        self._id = id_
        self._waiting: list[str] = []
        self._sent = 0.0

    def write(self, text: str) -> None:
        self._waiting.append(text)
        if time.monotonic() - self._sent >= BATCH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._jobs.write(self._id, Text("".join(self._waiting)))
            self._waiting.clear()
            self._sent = time.monotonic()


def _key(id_: str) -> str:
    return f"charlie:job:{id_}"


def _out(id_: str) -> str:
    return f"charlie:job:{id_}:out"


def _cancel(id_: str) -> str:
    return f"charlie:job:{id_}:cancel"


def _record(job: Job) -> str:
    return json.dumps(asdict(job))


def _job(text: str) -> Job:
    data = json.loads(text)
    return Job(**{**data, "kind": JobKind(data["kind"]), "state": JobState(data["state"])})


def _encode(output: Output) -> str:
    return json.dumps({"kind": type(output).__name__, **asdict(output)}, ensure_ascii=False)


def _decode(text: str) -> Output:
    data = json.loads(text)
    match data.pop("kind"):
        case "Text":
            return Text(**data)
        case "Hits":
            return Hits(tuple(Hit(**hit) for hit in data["hits"]), data["reranked"])
        case _:
            return Ended(**{**data, "state": JobState(data["state"])})
