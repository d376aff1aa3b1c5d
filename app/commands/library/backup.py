"""`charlie export`, `import` and `backup`: the whole library as Markdown and JSON. `charlie repair`: the database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from app.commands.attach import Session
from app.commands.library.records import LISTED, Yes, ask_first, shown_title
from app.commands.output import AsJson, StatusLine, data, data_json, note, table
from app.commands.session import session
from core.database import aof_repair
from core.database.server import APPEND_ONLY, take_lock
from core.errors import CharlieError, DatabaseError
from core.events.types import LibraryChanged
from core.figures import counted
from core.library.backup_export import export_library
from core.library.backup_import import Imported, import_library
from core.library.backups import Backups, today
from core.library.records import Restored
from core.paths import find_paths

backup = typer.Typer(rich_markup_mode=None)
INDEXED_NOW = 1000
"""The most entries in the job that an import submits: more would hold up other jobs."""
LABELS = {
    Restored.ADDED: "new",
    Restored.RENEWED: "updated",
    Restored.SAME: "unchanged",
    Restored.KEPT: "newer here",
}


def export(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an earlier export.")]) -> None:
    path = _absolute(folder)
    with session(worker=False) as running, StatusLine() as status:
        done = export_library(running.client, path, lambda at, total: status.show(f"exporting {at:,} of {total:,}"))
    data(str(path))
    note(f"{done.conversations:,} conversations with {done.messages:,} messages, and {done.entries:,} entries.")


def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `charlie export` wrote.")],
) -> None:
    with session(worker=False) as running:
        with StatusLine() as status:
            done = import_library(
                running.client,
                _absolute(folder),
                lambda at, total: status.show(f"importing {at:,} of {total:,}"),
            )
        later = _index(running, done)
    note(f"Conversations: {_counts(done.conversations)}.")
    note(f"Entries: {_counts(done.entries)}.")
    if later:
        note(f"{later:,} entries will be indexed by the next search.")


@backup.command("now")
def now() -> None:
    """Make today's backup, or update it."""
    with session(worker=False) as running, StatusLine() as status:
        done = _backups(running).make(
            running.client, today(), lambda at, total: status.show(f"exporting {at:,} of {total:,}")
        )
    if done is None:
        raise CharlieError("There is nothing to back up yet.", "Write something first.")
    data(today())


@backup.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the backups, and those that still hold what left the trash."""
    with session(worker=False) as running:
        backups, purged = _backups(running), set(running.client.trash.purged())
        held = {name: backups.ids(name) for name in backups.names()}
    if as_json:
        data_json([{"name": name, "records": len(ids), "removed": len(ids & purged)} for name, ids in held.items()])
        return
    for name, ids in held.items():
        removed = f"; {len(ids & purged):,} of them left the trash" if ids & purged else ""
        data(f"{name}  {counted(len(ids), 'record')}{removed}")
    if any(ids & purged for ids in held.values()):
        note("`charlie backup renew` writes these backups again without them.")


@backup.command("restore")
def restore(
    date: Annotated[
        str | None, typer.Argument(metavar="DATE", help="A backup's name; the last one without it.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Bring back the texts of a backup. Entries written since stay; replaced texts become revisions."""
    with session(worker=False) as running:
        backups = _backups(running)
        folder = backups.path(date or next(reversed(backups.names()), ""))
        change = import_library(running.client, folder, backup=True, dry_run=True)
        added, replaced = (
            change.conversations[each] + change.entries[each] for each in (Restored.ADDED, Restored.RENEWED)
        )
        if not change.changes:
            note("All of it is here already.")
            return
        note(table((LABELS[outcome], id_, shown_title(title)) for outcome, id_, title in change.changes[:LISTED]))
        if (more := len(change.changes) - LISTED) > 0:
            note(f"… and {more:,} more")
        note(f"{folder.name}: {added:,} would be added, {replaced:,} replaced; replaced entries become revisions.")
        ask_first("Restore?", yes=yes, must=True)
        done = import_library(running.client, folder, backup=True)
        _index(running, done)
        running.client.bus.publish(LibraryChanged())
    note(f"Conversations: {_counts(done.conversations)}.")
    note(f"Entries: {_counts(done.entries)}.")


@backup.command("renew")
def renew() -> None:
    """Write each backup that holds what left the trash again, without it."""
    with session(worker=False) as running:
        purged = running.client.trash.purged()
        names = _backups(running).renew(purged)
        running.client.trash.forget_purged(purged)
    note(f"Written again: {', '.join(names)}." if names else "No backup holds what left the trash.")


def _backups(running: Session) -> Backups:
    return Backups(running.client.paths.backups)


def _absolute(folder: Path) -> Path:
    try:
        return folder.expanduser().absolute()
    except RuntimeError as error:  # `~somebody` who does not exist
        raise CharlieError(f"The folder {folder} cannot be found.", "Give its full path.") from error


def _index(running: Session, done: Imported) -> int:
    """Submit entries to be indexed; returns the number of those left to the next search, which indexes missing ones.

    An updated entry is never left: the index has its old text, so a search would not miss it.
    """
    room = max(0, INDEXED_NOW - len(done.renewed))
    if now := [*done.renewed, *done.added[:room]]:
        running.client.ingest_all(now)
    return len(done.added[room:])


def _counts(done: Mapping[Restored, int]) -> str:
    return ", ".join(f"{done[each]:,} {word}" for each, word in LABELS.items() if done[each]) or "none"


def repair() -> None:
    paths = find_paths()
    paths.make()
    lock = take_lock(paths)
    if lock is None:
        raise DatabaseError("Charlie is running, so its database file is in use and not damaged.", "Quit it first.")
    try:
        done = aof_repair.repair(paths.database / APPEND_ONLY)
    finally:
        os.close(lock)
    if done is None:
        note("The database file is not damaged; there is nothing to repair.")
        return
    note(f"{done.damaged:,} of {done.size:,} bytes could not be read; {done.commands:,} writes are kept.")
    note(f"The damaged file is kept as {done.damaged_file}.")
