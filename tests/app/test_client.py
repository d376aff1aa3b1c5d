"""What asking for work costs."""

from __future__ import annotations

from app.client import Client
from core.events import JobChanged, QueueChanged, Snapshot
from tasks.jobs import JobState
from tests.waiting import first, happening


def _reads(client: Client) -> int:
    """How often the server has read something from a connection, this time included."""
    found: int = client.redis.info("stats")["total_reads_processed"]
    return found


def test_a_job_is_asked_for_in_three_round_trips(client: Client) -> None:
    client.unload()  # which connects
    before = _reads(client)
    client.search("river")
    assert _reads(client) - before <= 3 + 1


def test_whoever_hears_of_a_job_finds_it_in_the_queue(client: Client) -> None:
    events = happening(client.bus)
    assert isinstance(next(events), Snapshot)
    for number in range(1, 20):
        job = client.search("river")
        heard = first(events, lambda event: isinstance(event, JobChanged))
        assert isinstance(heard, JobChanged)
        assert (heard.id, heard.state) == (job.id, "queued")
        assert client.jobs.get(job.id).state is JobState.QUEUED
        assert first(events, lambda event: isinstance(event, QueueChanged)) == QueueChanged(number, None)
    assert [queued.position for queued in client.queue()] == list(range(1, 20))
