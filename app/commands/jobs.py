"""`charlie cancel`, and `retry` and `drop` for jobs parked after the worker ended three times in them."""

from __future__ import annotations

from typing import Annotated

import typer

from app.client import Client
from app.commands.output import note, note_limits
from app.commands.session import session
from core.errors import CharlieError, NotFoundError
from core.library.records import Entry
from core.text import one_line

ParkedJob = Annotated[str, typer.Argument(help="The id of a parked job; `charlie ps` lists them.")]


def cancel(job: Annotated[str, typer.Argument(help="The job's id; `charlie ps` lists them.")]) -> None:
    with session(worker=False) as running:
        if not running.client.cancel(job):
            state = running.client.jobs.get(job).state
            raise CharlieError(f"The job {job} has ended already: it is {state}.")
        ended = running.client.jobs.get(job).state.ended
        note(f"The job {job} is cancelled." if ended else f"The job {job} is being cancelled.")


def retry(job: ParkedJob) -> None:
    with session(worker=True) as running:
        entry = _entry(running.client, job)
        note_limits(running.wait(running.client.ingest(entry)))
        note(f"The entry {entry.id} is indexed.")


def drop(job: ParkedJob) -> None:
    with session(worker=False) as running:
        entry = _entry(running.client, job)
        running.client.skip(entry)
        note(f"The entry {entry.id} is skipped: saved but not searchable.")


def _entry(client: Client, id_: str) -> Entry:
    """The entry of a parked job. Raises CharlieError."""
    job = next((each for each in client.jobs.parked() if each.id == id_), None)
    if job is None:
        raise NotFoundError(f"There is no parked job {one_line(id_, 80)!r}.", "`charlie ps` lists them.")
    try:
        return client.journal.entry(job.subject)
    except NotFoundError:
        client.jobs.unpark(job.subject)
        raise
