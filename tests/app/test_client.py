"""The cost of submitting a job, and the order of its event."""

from __future__ import annotations

from app.client import Client
from core.events.types import JobChanged, JobState, QueueChanged, Snapshot
from tests.waiting import first, follow_events


def _reads(client: Client) -> int:
    """The number of reads of the server from its connections, with this one."""
    found: int = client.redis.info("stats")["total_reads_processed"]
    return found


def test_submitting_a_job_takes_three_round_trips(client: Client) -> None:
    client.unload()  # connects
    before = _reads(client)
    client.search("river")
    assert _reads(client) - before <= 3 + 1


def test_a_job_is_in_the_queue_before_its_event(client: Client) -> None:
    events = follow_events(client.bus)
    assert isinstance(next(events), Snapshot)
    for number in range(1, 20):
        job = client.search("river")
        heard = first(events, lambda event: isinstance(event, JobChanged))
        assert isinstance(heard, JobChanged)
        assert (heard.id, heard.state) == (job.id, "queued")
        assert client.jobs.get(job.id).state is JobState.QUEUED
        assert first(events, lambda event: isinstance(event, QueueChanged)) == QueueChanged(number, None)
    assert [queued.position for queued in client.queue()] == list(range(1, 20))
