"""Messages of other programs in the queue: rejected, never run, and the worker goes on."""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
from time import monotonic

import pytest

from app.client import Client
from core.database.keys import REJECTED
from core.events.types import JobState
from core.roles import Role
from tasks.queue.messages import EVICTION
from tasks.queue.storage import REJECTED_BYTES, REJECTED_KEPT
from tests.waiting import ended


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/charlie-was-exploited",)


def message(**changes: object) -> bytes:
    usual: dict[str, object] = {"id": "nobody", "name": "tasks.queue.unload", "args": ["nobody"], "eta": None}
    return json.dumps({**usual, **changes}).encode()


STRANGE = {
    "a pickle": pickle.dumps(Bomb()),
    "a pickle in base64": base64.b64encode(pickle.dumps(Bomb())),
    "a pickle in base64 as the argument": message(args=[base64.b64encode(pickle.dumps(Bomb())).decode()]),
    "five megabytes of garbage": random.Random(5).randbytes(5_000_000),
    "a name of five megabytes": message(name="x" * 5_000_000),
    "nothing": b"",
    "no JSON": b"{not json",
    "no UTF-8": b'"\xff\xfe"',
    "a list": b"[1, 2]",
    "an immense depth": b"[" * 100_000,
    "a depth of objects": message(args=["x"]).replace(b'"x"', b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "an unknown task": message(name="tasks.queue.format_disk"),
    "another module's function": message(name="os.system", args=["true"]),
    "a field more": message(retries=3),
    "a field less": json.dumps({"id": "x", "name": "tasks.queue.unload"}).encode(),
    "an id that is a number": message(id=7),
    "arguments that are an object": message(args={"job_id": "x"}),
    "an argument that is an object": message(args=[{"x": 1}]),
    "an argument that is no number": message(args=[float("nan")]),
    "a number without end": message(args=[float("inf")]),
    "an argument that is a number": message(args=[5]),
    "no argument": message(args=[]),
    "an argument more": message(args=["nobody", "more"]),
    "another job's id": message(args=["somebody"]),
    "an id that is no text": message(id="\ud800", args=["\ud800"]),
    "an id with a control sequence": message(id="\x1b[2J", args=["\x1b[2J"]),
    "a job with a time": message(eta="2020-01-01T00:00:00"),
    "an eviction of something": message(name=EVICTION),
    "a time that is none": message(eta="soon", id="evict_idle", name=EVICTION, args=[]),
    "a time that is a number": message(eta=5, id="evict_idle", name=EVICTION, args=[]),
    "a time with a zone": message(eta="2020-01-01T00:00:00+00:00", id="evict_idle", name=EVICTION, args=[]),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_an_unknown_message_is_refused(served: Client, strange: bytes) -> None:
    storage = served._queue.storage
    ended(served.jobs, served.warm(Role.EMBEDDING).id)  # by now the worker is up
    worker = served.snapshot().worker_pid
    before, _ = served.refused()
    storage.conn.lpush(storage.queue_key, strange)
    job = served.warm(Role.EMBEDDING)
    served.queue()
    assert ended(served.jobs, job.id).state is JobState.DONE
    assert storage.conn.lindex(REJECTED, 0) == strange[:REJECTED_BYTES]
    count, (shown,) = served.refused(1)
    assert count == before + 1
    assert shown == "" or shown.isprintable()
    assert served.snapshot().worker_pid == worker
    assert strange not in storage.unacknowledged()


def test_a_message_without_a_job_is_acknowledged(served: Client) -> None:
    storage = served._queue.storage
    storage.conn.lpush(storage.queue_key, message())
    job = served.warm(Role.EMBEDDING)
    assert ended(served.jobs, job.id).state is JobState.DONE
    assert message() not in storage.unacknowledged()


def test_refused_messages_are_counted_beyond_the_kept_ones(served: Client) -> None:
    """Each is rejected at once, so a job behind hundreds of them begins within seconds."""
    storage = served._queue.storage
    before, _ = served.refused()
    storage.conn.lpush(storage.queue_key, *[b"bad"] * 300)
    asked = monotonic()
    job = served.warm(Role.EMBEDDING)
    assert ended(served.jobs, job.id).state is JobState.DONE
    assert monotonic() - asked < 5
    count, kept = served.refused(1000)
    assert (count - before, len(kept)) == (300, REJECTED_KEPT)


def test_messages_are_plain_json(client: Client) -> None:
    job = client.chat(client.conversations.new_conversation().id, "hello")
    (data,) = client._queue.storage.enqueued_items()
    assert json.loads(data) == {"id": job.id, "name": "tasks.queue.chat_response", "args": [job.id], "eta": None}


def test_the_queue_is_listed_in_order_with_waiting_times(client: Client) -> None:
    jobs = [client.warm(role) for role in Role] + [client.unload()]
    client._queue.storage.conn.lpush(client._queue.storage.queue_key, pickle.dumps(Bomb()))
    listed = client.queue()
    assert [each.job for each in listed] == jobs
    assert [each.position for each in listed] == [1, 2, 3, 4]
    assert [each.wait for each in listed] == [0.0, None, None, None]
    client.jobs.measure(jobs[0].kind, 2.0)
    assert [each.wait for each in client.queue()] == [0.0, 2.0, 4.0, 6.0]
