"""Stores jobs and their output in Redis, for all processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as Late

from core.database import RedisClient, keys
from core.database.connection import transact, without_retries
from core.database.ids import next_id
from core.errors import NotFoundError
from core.events.bus import KEPT_EVENTS
from core.events.types import TAKEN, JobChanged, JobKind, JobState
from core.events.wire import encode as encode_event
from core.library.records import decode, encode
from tasks.jobs.records import Ended, Job, Output, Piece, Text, Thought, decode_output, encode_output

KEPT_SECONDS = 24 * 3600
"""The record and output of an ended job are kept this long."""


class Jobs:
    """The jobs in the database. `redis` must decode responses."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self._reader = without_retries(redis)
        self._written = 0

    def close(self) -> None:
        """Close the connections opened by `follow`."""
        self._reader.connection_pool.disconnect()

    def new(self, kind: JobKind, args: dict[str, Any], subject: str = "") -> Job:
        """A new job, whose id sorts behind all others. `add` writes it."""
        return Job(next_id(self.redis), kind, args, subject, enqueued=time.time())

    def find(self, id_: str) -> Job | None:
        found = self.redis.get(keys.job(id_))
        return decode(Job, found) if found else None

    def get(self, id_: str) -> Job:
        """Raises NotFoundError."""
        if job := self.find(id_):
            return job
        raise NotFoundError(f"There is no job {id_!r}.", "`charlie ps` lists waiting and running jobs.")

    def find_all(self, ids: Collection[str]) -> list[Job]:
        found = self.redis.mget([keys.job(id_) for id_ in ids]) if ids else []
        return [decode(Job, text) for text in found if text]

    def advance(
        self,
        id_: str,
        to: JobState | Callable[[Job], JobState],
        expect: Collection[JobState],
        also: Callable[..., None] = lambda _pipe, _job: None,
        reads: Sequence[Sequence[str]] = (),
        **changes: Any,
    ) -> Job | None:
        """Move a job that is in one of the states `expect`; returns the moved job, else None.

        Record and event are written together, and only if no other process has changed the record since it was read:
        two processes never both move a job. `also` may add commands to the same MULTI; it is given the pipeline, the
        moved job, and the answers to `reads`, which are commands sent with the first read.
        """
        moved: Job | None = None

        def move(pipe: Any, answers: list[Any]) -> Job | None:
            nonlocal moved
            found, *more = answers
            if moved is not None and found == encode(moved):  # written the first time; only the answer was lost
                return moved
            if not found or (job := decode(Job, found)).state not in expect:
                return None
            moved = replace(job, state=to(job) if callable(to) else to, **changes)
            self.add(pipe, moved)
            also(pipe, moved, *more)
            return moved

        return transact(self.redis, [keys.job(id_)], [("GET", keys.job(id_)), *reads], move)

    def end(self, id_: str, ended: Ended, expect: Collection[JobState] = TAKEN) -> Job | None:
        """Move a job to its last state and close its output; None when it had ended already."""
        return self.advance(id_, ended.state, expect, lambda pipe, _: _close(pipe, id_, ended), **_last_fields(ended))

    def park(self, id_: str, ended: Ended) -> Job | None:
        """End a job that is not run again by itself, and keep a record of it that does not expire."""

        def also(pipe: Any, job: Job) -> None:
            _close(pipe, id_, ended)
            pipe.hset(keys.PARKED, job.subject, encode(job))

        return self.advance(id_, ended.state, TAKEN, also, **_last_fields(ended))

    def split(self, job: Job, parts: Collection[Job], ended: Ended, also: Callable[[Any], None]) -> None:
        """Replace an abandoned job by several, in one MULTI with `also`."""
        with self.redis.pipeline(transaction=True) as pipe:
            for each in parts:
                self.add(pipe, each)
            self.add(pipe, replace(job, state=ended.state, **_last_fields(ended)))
            _close(pipe, job.id, ended)
            also(pipe)
            pipe.execute()

    def parked(self) -> list[Job]:
        """The parked jobs, oldest first."""
        return sorted((decode(Job, text) for text in self.redis.hvals(keys.PARKED)), key=lambda job: job.id)

    def unpark(self, *subjects: str) -> None:
        """Forget the parked jobs of these entries, which were retried, skipped or deleted."""
        self.redis.hdel(keys.PARKED, *subjects)

    def forget_ended(self) -> None:
        """Remove the ended jobs with their output, and the errors in the history: they may quote deleted texts."""
        stored = {key.removeprefix(keys.job("")) for key in self.redis.scan_iter(match=keys.job("*"), count=1_000)}
        for id_ in {name.partition(":")[0] for name in stored}:
            if (job := self.find(id_)) is None or job.state.ended:
                self.redis.delete(keys.job(id_), keys.output(id_))
        quoting = [id_ for id_, values in self.redis.xrange(keys.JOBS) if json.loads(values["event"]).get("error")]
        if quoting:
            self.redis.xdel(keys.JOBS, *quoting)

    def ask_to_stop(self, id_: str) -> None:
        """Set the job's cancel flag; the worker sees it within milliseconds."""
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.set(keys.cancel(id_), "1", ex=KEPT_SECONDS)
            pipe.publish(keys.CANCELS, id_)
            pipe.execute()

    def asked_to_stop(self, id_: str) -> bool:
        return bool(self.redis.exists(keys.cancel(id_)))

    def write(self, id_: str, output: Piece) -> None:
        """Append to a job's output, which only one thread of one process writes."""
        # With our own id, a record sent twice because its answer was lost is refused, not doubled.
        self._written = max(self._written + 1, time.time_ns() // 1_000_000)
        try:
            self.redis.xadd(keys.output(id_), {"record": encode_output(output)}, id=f"{self._written}-0")
        except ResponseError as error:
            if "equal or smaller" not in str(error):
                raise

    def written(self, id_: str, kind: type[Text | Thought] = Text) -> str:
        """The text, or the thought, in a job's output so far."""
        outputs = (decode_output(values["record"]) for _, values in self.redis.xrange(keys.output(id_)))
        return "".join(output.text for output in outputs if isinstance(output, kind))

    def follow(self, id_: str, stop: Callable[[], bool] = lambda: False) -> Iterator[Output | None]:
        """Yield the output from its beginning to its Ended record, and None about five times a second while waiting.

        Continues after a restart of the database. Raises NotFoundError.
        """
        last, exists = "0-0", False
        while not stop():
            try:
                found = self._reader.xread({keys.output(id_): last}, block=200)
            except (Lost, Late):
                time.sleep(0.1)
                found = None
            if not found:
                if not exists:
                    self.get(id_)
                    exists = True
                yield None
                continue
            exists = True
            for key, values in found[0][1]:
                last = key
                output = decode_output(values["record"])
                yield output
                if isinstance(output, Ended):
                    return

    def durations(self) -> dict[str, float]:
        """Recent duration of a job of each kind, in seconds."""
        return {kind: float(value) for kind, value in self.redis.hgetall(keys.DURATIONS).items()}

    def measure(self, kind: JobKind, seconds: float) -> None:
        """Add a duration to the moving average (weight 0.3) that waiting times are estimated from."""
        old = self.redis.hget(keys.DURATIONS, kind)
        self.redis.hset(keys.DURATIONS, kind, str(seconds if old is None else 0.7 * float(old) + 0.3 * seconds))

    def add(self, pipe: Any, job: Job) -> None:
        """Write a job and its event with the caller's pipeline."""
        pipe.set(keys.job(job.id), encode(job))
        event = JobChanged(job.id, job.kind, job.state, job.subject, job.error, job.hint)
        pipe.xadd(keys.JOBS, {"event": encode_event(event)}, maxlen=KEPT_EVENTS, approximate=True)


def _last_fields(ended: Ended) -> dict[str, Any]:
    return {"ended": time.time(), "error": ended.error, "hint": ended.hint}


def _close(pipe: Any, id_: str, ended: Ended) -> None:
    """Written in one MULTI with the last state, so that every reader of the output gets to its end."""
    pipe.xadd(keys.output(id_), {"record": encode_output(ended)})
    pipe.expire(keys.output(id_), KEPT_SECONDS)
    pipe.expire(keys.job(id_), KEPT_SECONDS)
    pipe.delete(keys.cancel(id_))
