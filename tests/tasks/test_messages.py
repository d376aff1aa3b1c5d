"""What others put into the queue: set aside, never run, and the worker goes on."""

from __future__ import annotations

import json
import os
import pickle

import pytest

from app.client import Client
from core.settings import Role
from tasks.jobs import JobState
from tasks.queue import REJECTED
from tests.waiting import ended


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/charlie-was-exploited",)


def message(**changes: object) -> bytes:
    usual: dict[str, object] = {"id": "x", "name": "tasks.queue.unload", "args": ["nobody"], "eta": None}
    return json.dumps({**usual, **changes}).encode()


STRANGE = {
    "a pickle": pickle.dumps(Bomb()),
    "nothing": b"",
    "no JSON": b"{not json",
    "no UTF-8": b'"\xff\xfe"',
    "a list": b"[1, 2]",
    "an immense depth": b"[" * 100_000,
    "an unknown task": message(name="tasks.queue.format_disk"),
    "another module's function": message(name="os.system", args=["true"]),
    "a field more": message(retries=3),
    "a field less": json.dumps({"id": "x", "name": "tasks.queue.unload"}).encode(),
    "an id that is a number": message(id=7),
    "arguments that are an object": message(args={"job_id": "x"}),
    "an argument that is an object": message(args=[{"x": 1}]),
    "a time that is none": message(eta="soon"),
    "a time that is a number": message(eta=5),
    "a time with a zone": message(eta="2020-01-01T00:00:00+00:00"),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_strange_message_is_set_aside(served: Client, strange: bytes) -> None:
    storage = served._queue.storage
    storage.conn.lpush(storage.queue_key, strange)
    job = served.warm(Role.EMBEDDING)
    served.queue()
    assert ended(served.jobs, job.id).state is JobState.DONE
    assert storage.conn.lindex(REJECTED, 0) == strange
    assert strange not in storage.unacknowledged()


@pytest.mark.parametrize("args", [[], ["nobody", "more"], ["nobody"], [5], [True]])
def test_a_message_for_no_job_is_done_with(served: Client, args: list[object]) -> None:
    storage = served._queue.storage
    storage.conn.lpush(storage.queue_key, message(args=args))
    job = served.warm(Role.EMBEDDING)
    assert ended(served.jobs, job.id).state is JobState.DONE
    assert message(args=args) not in storage.unacknowledged()


def test_messages_are_plain_json(client: Client) -> None:
    job = client.chat(client.library.new_conversation().id, "hello")
    (data,) = client._queue.storage.enqueued_items()
    assert json.loads(data) == {"id": job.id, "name": "tasks.queue.chat_response", "args": [job.id], "eta": None}


def test_the_queue_is_told_in_order(client: Client) -> None:
    jobs = [client.warm(role) for role in Role] + [client.unload()]
    client._queue.storage.conn.lpush(client._queue.storage.queue_key, pickle.dumps(Bomb()))
    listed = client.queue()
    assert [each.job for each in listed] == jobs
    assert [each.position for each in listed] == [1, 2, 3, 4]
    assert [each.wait for each in listed] == [0.0, None, None, None]
    client.jobs.measure(jobs[0].kind, 2.0)
    assert [each.wait for each in client.queue()] == [0.0, 2.0, 4.0, 6.0]
