"""`charlie trash`: what was deleted, which stays for 30 days."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.library.records import PART, Ids, Yes, ask_first, named, print_list, shown_title, whole_id
from app.commands.output import AsJson, note
from app.commands.session import session
from app.library_changes import bring_back
from core.figures import counted, local_time
from core.library.trash import TrashItem

if TYPE_CHECKING:
    from app.client import Client

trash = typer.Typer(rich_markup_mode=None)


@trash.command("list")
def list_trash(as_json: AsJson = False) -> None:
    """List what was deleted in the last 30 days, the latest first."""
    with session(worker=False) as running:
        items = running.client.trash.items()
    rows = ((item.id, local_time(item.deleted), item.kind, shown_title(item.title)) for item in items)
    found = [asdict(item) for item in items]
    print_list(found, ("ID", "DELETED", "KIND", "TITLE"), rows, "The trash is empty.", as_json=as_json)


@trash.command()
def restore(ids: Ids) -> None:
    """Bring entries and conversations back."""
    with session(worker=False) as running:
        for item in _find(running.client, ids):
            bring_back(running.client, item)
            note(f"{named([item.title])} is back.")


@trash.command()
def empty(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help=f"{PART} Without ids, all is removed.")] = None,
    yes: Yes = False,
) -> None:
    """Remove what the trash holds, for good."""
    from app.purge import purge  # imports the queue, which `--help` does not need

    with session(worker=False) as running:
        items = _find(running.client, ids) if ids else running.client.trash.items()
        if not items:
            note("The trash is empty.")
            return
        ask_first(f"Remove {named([item.title for item in items])} for good?", yes=yes, must=True)
        purged = purge(running.client, [item.id for item in items])
        exports = running.client.paths.exports
    note(f"Removed for good: {counted(purged.count, 'record')}.")
    if purged.backups:
        note(f"Still in the backups {', '.join(purged.backups)}; `charlie backup renew` writes them without it.")
    if exports.is_dir() and any(exports.iterdir()):
        note(f"What you exported into {exports} is yours to remove.")


def _find(client: Client, parts: list[str]) -> list[TrashItem]:
    """Raises CharlieError."""
    titles = {item.id: item.title for item in client.trash.items()}
    ids = dict.fromkeys(whole_id(part, titles, titles.__getitem__) for part in parts)
    return [client.trash.item(id_) for id_ in ids]
