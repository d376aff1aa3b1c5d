"""`charlie export` and `charlie import`: the whole library as a folder of Markdown and JSON, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.commands.session import Session
    from core.backup import Imported
    from core.library import Restored

READ_IN_NOW = 1000
"""At most so many entries are read in by the job that an import asks for: more would hold up what else is wanted."""


def export(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an earlier export.")]) -> None:
    """Write all conversations and entries into a folder, as Markdown and JSON; an earlier export is renewed."""
    from app.commands.session import session
    from app.output import StatusLine, data, talk
    from core.backup import export_library

    path = _absolute(folder)
    with session(worker=False) as running, StatusLine() as status:
        done = export_library(
            running.client.library, path, lambda at, total: status.show(f"exporting {at:,} of {total:,}")
        )
    data(str(path))
    talk(f"{done.conversations:,} conversations with {done.messages:,} messages, and {done.entries:,} entries.")


def import_(folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `charlie export` wrote.")]) -> None:
    """Bring back what an export holds. What is here already and later stays; a second time changes nothing."""
    from app.commands.session import session
    from app.output import StatusLine, size, talk
    from core.backup import import_library

    with session(worker=False) as running:
        with StatusLine() as status:
            done = import_library(
                running.client.library,
                _absolute(folder),
                lambda at, total: status.show(f"importing {size(at)} of {size(total)}"),
            )
        later = _read_in(running, done)
    talk(f"Conversations: {_counts(done.conversations)}.")
    talk(f"Entries: {_counts(done.entries)}.")
    if later:
        talk(f"{later:,} entries are read in by the next search.")


def _absolute(folder: Path) -> Path:
    from core.errors import CharlieError

    try:
        return folder.expanduser().absolute()
    except RuntimeError as error:  # `~somebody` who does not exist
        raise CharlieError(f"The folder {folder} cannot be found.", "Write its whole path.") from error


def _read_in(running: Session, done: Imported) -> int:
    """Have entries read in, and return how many are left to the next search, which reads in what is missing.

    A renewed one is not missing: it would be found by its old text.
    """
    room = max(0, READ_IN_NOW - len(done.renewed))
    if now := [*done.renewed, *done.added[:room]]:
        running.client.ingest_all(now)
    return len(done.added[room:])


def _counts(done: Mapping[Restored, int]) -> str:
    from core.library import Restored

    words = {
        Restored.ADDED: "new",
        Restored.RENEWED: "brought up to date",
        Restored.SAME: "the same",
        Restored.KEPT: "kept as they are here",
    }
    return ", ".join(f"{done[each]:,} {word}" for each, word in words.items() if done[each]) or "none"
