"""Recovers the jobs of a worker that died: run again, interrupted, or parked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from core.errors import NotFoundError
from core.events.types import TAKEN, JobKind, JobState
from core.library.records import EntryState, MessageState, StoredMessage
from tasks.handlers.context import TaskContext
from tasks.handlers.ingest import unindexed
from tasks.jobs.records import Ended, Job, Thought
from tasks.queue.huey_queue import Queue, replace_taken
from tasks.queue.messages import job_ids

MAX_CRASHES = 3
"""A job during which the worker died this often is parked: it is not run again by itself."""
PARKED = "Parked: the worker ended three times while working on this."
PARKED_HINT = "`charlie retry {0}` tries again, `charlie drop {0}` skips it; in the journal, r and x do."
SPLIT = "The worker ended while working on this; the rest is done entry by entry."
INTERRUPTED = Ended(JobState.INTERRUPTED, error="The worker ended while working on this.", hint="Ask for it again.")


def recover(context: TaskContext, queue: Queue) -> None:
    """Put an unfinished ingestion back into the queue and mark any other job as interrupted. Before serving."""
    for message in queue.storage.unacknowledged():
        ids = job_ids([message])
        job = context.jobs.find(ids[0]) if ids else None
        if job is None or job.state.ended:
            queue.storage.acknowledge(message)
        elif job.state is JobState.QUEUED:  # taken, but not begun
            queue.storage.put_back(message)
        elif job.kind is not JobKind.INGEST:
            _interrupt(context, job)
            queue.storage.acknowledge(message)
        elif len(job.args["entries"]) > 1 and not context.jobs.asked_to_stop(job.id):
            _split(context, queue, job, message)
        elif job.attempts + 1 < MAX_CRASHES:  # one that was asked to stop ends at once when it is run again
            context.jobs.advance(job.id, JobState.QUEUED, TAKEN, attempts=job.attempts + 1)
            queue.storage.put_back(message)
        else:
            _park(context, job)
            queue.storage.acknowledge(message)


def _split(context: TaskContext, queue: Queue, job: Job, message: bytes) -> None:
    """Replace an ingestion by one job for each remaining entry, so that the entry that ends the worker is found."""
    parts = [
        replace(job, id=f"{job.id}-{number:06}", args={"entries": [id_]}, subject=id_, state=JobState.QUEUED,
                attempts=job.attempts + 1)
        for number, id_ in enumerate(unindexed(context, job))
    ]  # fmt: skip
    ended = Ended(JobState.INTERRUPTED, error=SPLIT)
    ids = [part.id for part in parts]
    context.jobs.split(job, parts, ended, lambda pipe: replace_taken(queue, message, job.kind, ids, pipe))


def _interrupt(context: TaskContext, job: Job) -> None:
    text = context.jobs.written(job.id)
    if job.kind is JobKind.CHAT and text and not job.args.get("replaces"):  # half a reply replaces none
        thought = context.jobs.written(job.id, Thought).strip()
        message = StoredMessage(job.id, "assistant", text, state=MessageState.INTERRUPTED, reasoning=thought)
        with suppress(NotFoundError):  # the conversation may be deleted by now
            context.conversations.put_message(job.subject, message)
    context.jobs.end(job.id, INTERRUPTED)


def _park(context: TaskContext, job: Job) -> None:
    ended = Ended(JobState.INTERRUPTED, error=PARKED, hint=PARKED_HINT.format(job.id))
    try:
        entry = context.journal.entry(job.subject)
    except NotFoundError:  # nothing is left to decide on
        context.jobs.end(job.id, ended)
        return
    context.journal.mark_entries({entry.id: entry.revision}, EntryState.FAILED, PARKED)
    context.jobs.park(job.id, ended)
