"""`charlie conversations`: lists and prints conversations, and changes their titles."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.commands.library import records
from app.commands.output import AsJson, data, data_json, note
from app.commands.session import read_text, session
from app.library_changes import delete_conversation, rename_conversation
from app.tui.chat.export import export_conversation
from core.figures import local_time
from core.library.markdown import markdown_of
from core.library.records import Revision, RevisionKind

conversations = typer.Typer(rich_markup_mode=None)


@conversations.command("list")
def list_conversations(as_json: AsJson = False) -> None:
    """List the conversations, the last used first."""
    with session(worker=False) as running:
        found = running.client.conversations.conversations()
    rows = ((each.id, local_time(each.updated), records.shown_title(each.title)) for each in found)
    none = "There are no conversations yet; `charlie ask` begins one."
    records.print_list([asdict(each) for each in found], ("ID", "LAST USED", "TITLE"), rows, none, as_json=as_json)


@conversations.command()
def show(id_: records.Id, as_json: AsJson = False) -> None:
    """Print a conversation as Markdown."""
    with session(worker=False) as running:
        found = records.find_conversation(running.client, id_)
        messages = running.client.conversations.messages(found.id)
    if as_json:
        data_json(asdict(found) | {"messages": [asdict(each) for each in messages]})
    else:
        data(markdown_of(found, messages), end="")


@conversations.command()
def export(
    id_: records.Id,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Without it, the folder of the Chat screen's exports.")
    ] = None,
) -> None:
    """Write a conversation into a Markdown file, and print its path. An earlier export of it is replaced."""
    with session(worker=False) as running:
        client = running.client
        found = records.find_conversation(client, id_)
        messages = client.conversations.messages(found.id)
        data(str(export_conversation(found, messages, folder or client.paths.exports)))


@conversations.command()
def rename(
    id_: records.Id, title: Annotated[str, typer.Argument(help="The new title; `-` reads standard input.")]
) -> None:
    """Change a conversation's title."""
    title = " ".join(read_text(title, "title").split())
    with session(worker=False) as running:
        rename_conversation(running.client, records.find_conversation(running.client, id_).id, title)
    note(f"The title is {records.named([title])}.")


@conversations.command()
def delete(ids: records.Ids, yes: records.Yes = False) -> None:
    """Move conversations to the trash, for 30 days."""
    with session(worker=False) as running:
        client = running.client
        found = [records.find_conversation(client, each) for each in ids]
        records.delete_all(found, lambda id_: delete_conversation(client, id_), yes=yes)


@conversations.command()
def history(
    id_: records.Id,
    revision: records.Part = None,
    diff: records.Difference = False,
    restore: records.Restore = False,
    as_json: AsJson = False,
) -> None:
    """List the earlier titles and replaced replies of a conversation, print one, or bring it back."""
    with session(worker=False) as running:
        client = running.client
        found = records.find_conversation(client, id_)

        def present(old: Revision) -> str:
            reply = client.conversations.present(found.id, old)
            return found.title if old.kind is RevisionKind.TITLE else reply.text if reply else ""

        records.show_history(client, found.id, present, revision, diff=diff, restore=restore, as_json=as_json)
