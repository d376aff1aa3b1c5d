"""The schema of the database: every key, with the value stored there.

A value is a string of JSON where no other type is named. Keys without a named expiry stay.
"""

from __future__ import annotations

# The library, core/library; written by every process, vectors only by the worker.

CONVERSATIONS = "charlie:conversations"
"""Sorted set: the ids of all conversations, by the time of their last use (seconds)."""
ENTRIES = "charlie:entries"
"""Sorted set: the ids of all journal entries, by the time they were written (seconds)."""
CHANGES = "charlie:entries:changes"
"""Stream, about the last 1,000: ids of added, changed and deleted entries, so that a search need not read all ids."""
UNDESCRIBED = "charlie:entries:undescribed"
"""Sorted set, the newest 100: ids of indexed entries without a title, by the time they were written."""
CORRECTED = "charlie:entries:moods"
"""Hash: entry id to the mood that a person gave it, an example for other entries."""
UNREAD = "charlie:unread"
"""Hash: entry id, or conversation and reply, to "soon" or "": texts whose mood or distress is not known yet."""
INDEXES = "charlie:indexes"
"""Set: the names of the `vectors` hashes, one for each embedding model; and of `chunks` hashes of earlier versions."""


TRASH = "charlie:trash"
"""Sorted set: the ids of deleted entries and conversations, by the time of their deletion (seconds)."""
PURGED = "charlie:purged"
"""Sorted set: the ids of what left the trash, which backups may still hold, by the time of that (seconds)."""
UNREMOVED = "charlie:unremoved"
"""Number: grows with each text that left the trash or was replaced, until the database file is rewritten without it."""
UPKEEP = "charlie:upkeep"
"""The day (YYYY-MM-DD) on which revisions older than 30 days were last removed."""
SCHEMA = "charlie:schema"
"""Number: the version of this schema that the data follow; missing for version 1."""


def conversation(id_: str) -> str:
    """A Conversation."""
    return f"charlie:conversation:{id_}"


def messages(id_: str) -> str:
    """Hash: message id to StoredMessage. The ids sort by time."""
    return f"charlie:conversation:{id_}:messages"


def entry(id_: str) -> str:
    """An Entry."""
    return f"charlie:entry:{id_}"


def revisions(id_: str) -> str:
    """List, the latest 20 of 30 days, newest first: the Revisions of an entry or conversation."""
    return f"charlie:revisions:{id_}"


def trashed(key: str) -> str:
    """The value of a deleted record, which had this key."""
    return f"charlie:trash:{key.removeprefix('charlie:')}"


def vectors(model_id: str) -> str:
    """Hash: entry id to the vectors of its passages (int8), from one embedding model."""
    return f"charlie:vectors:{model_id}"


# Jobs, tasks/jobs; written by the process that asks for the job, then by the worker.

DURATIONS = "charlie:durations"
"""Hash: kind of job to the moving average of its duration (seconds), for estimates of the wait."""
PARKED = "charlie:set-aside"
"""Hash: subject to the Job that ended the worker three times and waits for a decision."""
CANCELS = "charlie:cancel"
"""Channel: ids of jobs to cancel."""


def job(id_: str) -> str:
    """A Job; expires a day after its end."""
    return f"charlie:job:{id_}"


def output(id_: str) -> str:
    """Stream: the Text, Hits and Ended records of a job; expires with the job."""
    return f"charlie:job:{id_}:out"


def cancel(id_: str) -> str:
    """Flag: cancel the job, for a worker that missed the channel; deleted when the job ends, or after a day."""
    return f"charlie:job:{id_}:cancel"


# The queue, tasks/queue; Huey chooses the names of WAITING and SCHEDULE.

WAITING = "huey.redis.charlie"
"""List: messages to the worker, the next one last."""
PROCESSING = f"{WAITING}.processing"
"""List: messages that the worker has taken and not yet acknowledged."""
SCHEDULE = "huey.schedule.charlie"
"""Sorted set: delayed messages, which unload idle models, by the time they are due (seconds)."""

REJECTED = "charlie:rejected"
"""List, the last 100: the first bytes of refused messages."""
REFUSED = "charlie:refused"
"""Number: all refused messages."""

# Events and state, core/events; written by the worker, by the interface when the worker is lost.

SNAPSHOT = "charlie:state"
"""A Snapshot: the phase, the model and the sequence number of the last transition."""
TRANSITIONS = "charlie:transitions"
"""Stream, about the last 10,000: transitions, plans, receipts, and starts and losses of the worker."""
JOBS = "charlie:jobs"
"""Stream, about the last 10,000: changes of job states, by every process."""
LIVE = "charlie:live"
"""Stream, about the last 200: progress, queue length and memory readings."""
HEARTBEAT = "charlie:heartbeat"
"""The Heartbeat of the worker."""

# Bookkeeping.

LATEST = "charlie:latest"
"""Number: the time (microseconds) that made the latest id, so that ids increase even when the clock is set back."""
FOOTPRINTS = "charlie:footprints"
"""Hash: model, settings and llama.cpp version (as one checksum) to the predicted and the measured memory (bytes)."""
SIMULATED = "charlie:simulated"
"""Set: the model files whose load is being simulated for the first time; one that stays has ended the worker."""
WRITABLE = "charlie:writable"
"""Flag: written to test whether the server can write its file again."""
