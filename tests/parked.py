"""A parked job, without a worker that ended three times."""

from __future__ import annotations

from app.client import Client
from core.events.types import JobKind, JobState
from core.library.records import Entry
from tasks.jobs.records import Ended, Job


def park(client: Client, entry: Entry, error: str = "Parked.") -> Job:
    """Park the ingestion of an entry; no message of it is in the queue."""
    job = client.jobs.new(JobKind.INGEST, {"entries": [entry.id]}, entry.id)
    client.jobs.add(client.redis, job)
    client.jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED})
    client.jobs.park(job.id, Ended(JobState.INTERRUPTED, error=error))
    return job
