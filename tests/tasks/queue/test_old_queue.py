"""A queue filled by an earlier version is worked off.

`queue_of_e1f4e1e.json` is the content of the database after the client of commit e1f4e1e had queued one job of each
kind, byte by byte; its event streams are left out.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import JobKind, JobState
from core.library.records import EntryState
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tasks.queue.huey_queue import make_queue
from tasks.queue.messages import eviction_message, job_message
from tests.waiting import ended

QUEUE = "huey.redis.charlie"


def restore(client: Client) -> list[bytes]:
    """Write the old database into an empty one; returns the messages of the queue, the next first."""
    found = json.loads(Path(__file__).with_name("queue_of_e1f4e1e.json").read_text())
    with client._raw.pipeline(transaction=True) as pipe:
        for key, (kind, value) in found.items():
            match kind:
                case "string":
                    pipe.set(key, value)
                case "list":
                    pipe.rpush(key, *value)
                case "hash":
                    pipe.hset(key, mapping=value)
                case "zset":
                    pipe.zadd(key, value)
                case "stream":
                    for id_, fields in value:
                        pipe.xadd(key, fields, id=id_)
        pipe.execute()
    messages: list[bytes] = client._raw.lrange(QUEUE, 0, -1)
    return messages[::-1]


def test_old_messages_are_read_and_written_the_same(client: Client) -> None:
    messages = restore(client)
    did: list[str] = []
    queue = make_queue(client._raw.connection_pool, did.append, lambda: did.append("eviction"))
    assert queue.storage.queue_key == QUEUE
    jobs = [each.job for each in client.queue()]
    tasks = [queue.dequeue() for _ in messages]
    assert [job_message(job.kind, job.id) for job in jobs] == messages[:-1]
    assert eviction_message(tasks[-1].eta) == messages[-1]
    for task in tasks:
        queue.execute(task)
    assert did == [*(job.id for job in jobs), "eviction"]
    assert queue.storage.unacknowledged() == []


@pytest.mark.slow
def test_a_worker_does_the_jobs_of_an_old_queue(home: Path) -> None:
    assert home
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=False) as running:
        restore(client)
        jobs = [each.job for each in client.queue()]
        assert {job.kind for job in jobs} == set(JobKind) - {JobKind.DESCRIBE, JobKind.FEEL}
        running._start_worker()
        results = {job.id: ended(client.jobs, job.id) for job in jobs}
        assert [last.state for last in results.values()] == [JobState.DONE] * len(jobs), results
        behind = client.warm(Role.EMBEDDING)  # when it is done, so is the eviction before it
        assert ended(client.jobs, behind.id).state is JobState.DONE
        assert client.queue() == []
        assert client.refused()[0] == 0
        chat = next(job for job in jobs if job.kind is JobKind.CHAT)
        reply = client.reply(chat)
        assert reply is not None
        assert reply.text == (results[chat.id].result or {})["text"] != ""
        entries = client.journal.entries()
        assert [entry.state for entry in entries] == [EntryState.INDEXED] * 3
        search = next(job for job in jobs if job.kind is JobKind.SEARCH)
        hits = (results[search.id].result or {})["hits"]
        assert {hit["entry"] for hit in hits} <= {entry.id for entry in entries}
        assert len(hits) == 2
