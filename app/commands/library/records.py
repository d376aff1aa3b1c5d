"""What the commands for texts share: ids that are cut short, lists, questions and the history."""

from __future__ import annotations

import sys
import termios
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict
from difflib import unified_diff
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import data, data_json, note, table
from app.library_changes import bring_back_revision
from core.errors import CharlieError
from core.figures import local_time, size
from core.library.records import TITLE_WIDTH, Conversation, Entry, Revision, RevisionKind
from core.text import one_line, printable

if TYPE_CHECKING:
    from app.client import Client

SHORTEST_PART = 4
LISTED = 10
PART = f"Its id, or the last {SHORTEST_PART} digits or more."
Id = Annotated[str, typer.Argument(metavar="ID", help=PART)]
Ids = Annotated[list[str], typer.Argument(metavar="ID", help=PART)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Part = Annotated[str | None, typer.Argument(metavar="REVISION", help=f"The one to print. {PART}")]
Difference = Annotated[bool, typer.Option("--diff", help="Print what has changed since.")]
Restore = Annotated[bool, typer.Option("--restore", help="Bring it back. The present text becomes a revision.")]


def whole_id(part: str, ids: Collection[str], title_of: Callable[[str], str]) -> str:
    """The one of `ids` that ends or begins with `part`; `part` itself if none does.

    Raises CharlieError, after a list with titles, if there are several.
    """
    if part in ids:
        return part
    if len(part) < SHORTEST_PART:
        raise CharlieError(f"{part!r} is too short for an id.", f"Give its last {SHORTEST_PART} digits or more.")
    found = [id_ for id_ in ids if id_.endswith(part) or id_.startswith(part)]
    if len(found) <= 1:
        return found[0] if found else part
    note(table((id_, shown_title(title_of(id_))) for id_ in found[:LISTED]))
    first = f" (above are the first {LISTED})" if len(found) > LISTED else ""
    raise CharlieError(
        f"{len(found):,} ids begin or end with {part!r}{first}.", "Give the last digits of the one meant."
    )


def find_entry(client: Client, part: str) -> Entry:
    """Raises CharlieError."""
    journal = client.journal
    return journal.entry(whole_id(part, journal.entry_ids(), lambda id_: journal.entry(id_).title))


def find_conversation(client: Client, part: str) -> Conversation:
    """Raises CharlieError."""
    titles = {each.id: each.title for each in client.conversations.conversations()}
    return client.conversations.conversation(whole_id(part, titles, titles.__getitem__))


def shown_title(title: str) -> str:
    return one_line(title, TITLE_WIDTH) or "Untitled"


def named(titles: Sequence[str]) -> str:
    """The title, or the number of several."""
    return f"“{shown_title(titles[0])}”" if len(titles) == 1 else f"these {len(titles):,}"


def print_text(text: str) -> None:
    """As it is stored; a terminal gets a line end after it."""
    data(text, end="\n" if sys.stdout.isatty() and not text.endswith("\n") else "")


def print_list(
    found: list[dict[str, Any]], headings: tuple[str, ...], rows: Iterable[tuple[str, ...]], none: str, *, as_json: bool
) -> None:
    """What was found as JSON, or its rows as a table; the note `none` when nothing was found."""
    if as_json:
        data_json(found)
    elif found:
        data(table([headings, *rows]))
    else:
        note(none)


def ask_first(question: str, *, yes: bool, must: bool = False) -> None:
    """Ask on the terminal, and exit at a no. Without a terminal nobody is asked; with `must`, that is refused."""
    if not yes and sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # what was typed before is not the answer
        typer.confirm(printable(question), abort=True, err=True)
    elif not yes and must:
        raise CharlieError("There is no terminal to ask on.", "Give `--yes`.")


def delete_all(records: Sequence[Entry | Conversation], delete: Callable[[str], None], *, yes: bool) -> None:
    """Move records to the trash after a question, and say how to bring them back."""
    ask_first(f"Delete {named([each.title for each in records])}?", yes=yes)
    for each in records:
        delete(each.id)
        note(f"{named([each.title])} is in the trash for 30 days.")
    note(f"To bring back: `charlie trash restore {' '.join(each.id for each in records)}`.")


def show_history(
    client: Client, subject: str, present: Callable[[Revision], str], part: str | None, *,
    diff: bool, restore: bool, as_json: bool,
) -> None:  # fmt: skip
    """List the revisions, newest first, or print, compare or bring back one. `present` is what it is compared with."""
    revisions = client.history.revisions(subject)
    if part is None and (diff or restore):
        raise typer.BadParameter("Name the revision; without options, all are listed.")
    if part is None:
        rows = ((each.id, local_time(each.at), size(len(each.text.encode())), _line(each)) for each in revisions)
        none = "There are no earlier texts; they are kept for 30 days."
        found = [asdict(each) for each in revisions]
        return print_list(found, ("REVISION", "WRITTEN", "SIZE", "TEXT"), rows, none, as_json=as_json)
    texts = {each.id: each.text for each in revisions}
    old = client.history.revision(subject, whole_id(part, texts, texts.__getitem__))
    if restore:
        bring_back_revision(client, subject, old)
        return note("It is brought back. What it replaced is in the history.")
    if as_json:
        return data_json(asdict(old))
    if not diff:
        return print_text(old.text)
    before, after = ([f"{line}\n" for line in text.split("\n")] for text in (old.text, present(old)))
    return data("".join(unified_diff(before, after, local_time(old.at), "now")), end="")


def _line(revision: Revision) -> str:
    return ("" if revision.kind is RevisionKind.TEXT else f"{revision.kind}: ") + shown_title(revision.text)
