"""`charlie retry` and `drop`: what becomes of a job that was set aside because it ended the worker three times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.client import Client
    from core.library import Entry

AsideJob = Annotated[str, typer.Argument(help="The id of a job that is set aside, as `charlie ps` shows it.")]


def retry(job: AsideJob) -> None:
    """Do a job that was set aside once more."""
    from app.commands.session import session, tell_about
    from app.output import talk

    with session(worker=True) as running:
        entry = _entry(running.client, job)
        tell_about(running.wait(running.client.ingest(entry)))
        talk(f"The entry {entry.id} can be found now.")


def drop(job: AsideJob) -> None:
    """Leave what a job that was set aside was about: the entry stays saved, and is not searched."""
    from app.commands.session import session
    from app.output import talk

    with session(worker=False) as running:
        entry = _entry(running.client, job)
        running.client.drop(entry)
        talk(f"The job {job} is dropped; its entry {entry.id} stays saved, and is not searched.")


def _entry(client: Client, id_: str) -> Entry:
    """What a job that is set aside is about. Raises CharlieError."""
    from core.errors import NotFoundError
    from core.text import one_line

    job = next((each for each in client.jobs.aside() if each.id == id_), None)
    if job is None:
        raise NotFoundError(f"There is no job {one_line(id_, 80)!r} set aside.", "`charlie ps` lists them.")
    try:
        return client.library.entry(job.subject)
    except NotFoundError:
        client.jobs.release(job.subject)
        raise
