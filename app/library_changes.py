"""Changes that a person makes to entries and conversations. Each is announced, so that every interface follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.events.types import JobKind, LibraryChanged
from core.library.journal import JOURNAL
from core.library.records import Conversation, Entry, Revision, RevisionKind
from core.library.trash import TrashItem, TrashKind
from core.llama.session_files import forget

if TYPE_CHECKING:
    from app.client import Client


def write_entry(client: Client, id_: str, text: str, base: int | None = None, writer: str = "") -> Entry:
    """See Journal.write_entry."""
    entry = client.journal.write_entry(id_, text, base, writer)
    client.bus.publish(LibraryChanged(id_))
    return entry


def new_entry(client: Client, text: str, id_: str = "", writer: str = "") -> Entry:
    entry = client.journal.new_entry(text, id_, writer)
    client.bus.publish(LibraryChanged(entry.id))
    return entry


def set_mood(client: Client, id_: str, mood: str) -> Entry:
    """See Journal.set_mood."""
    entry = client.journal.set_mood(id_, mood)
    client.bus.publish(LibraryChanged(id_))
    return entry


def rename_conversation(client: Client, id_: str, title: str) -> None:
    """Raises NotFoundError."""
    client.conversations.rename_conversation(id_, title)
    client.bus.publish(LibraryChanged(id_))


def bring_back_revision(client: Client, id_: str, revision: Revision) -> None:
    """Make an earlier text of an entry, or title or reply of a conversation, the present one. Raises NotFoundError."""
    match revision.kind:
        case RevisionKind.TEXT:
            client.ingest(write_entry(client, id_, revision.text))
        case RevisionKind.TITLE:
            rename_conversation(client, id_, revision.text)
        case RevisionKind.REPLY:
            client.conversations.bring_back_reply(id_, revision)
            client.bus.publish(LibraryChanged(id_))


def delete_entry(client: Client, id_: str) -> None:
    """Move an entry to the trash, withdraw its indexing, and delete the journal's saved KV caches."""
    _cancel(client, JobKind.INGEST, id_)
    client.journal.delete_entry(id_)
    forget(client.paths.sessions, JOURNAL)
    client.jobs.unpark(id_)
    client.bus.publish(LibraryChanged(id_))


def delete_conversation(client: Client, id_: str) -> None:
    """Move a conversation to the trash, cancel its replies, and delete its saved KV caches."""
    _cancel(client, JobKind.CHAT, id_)
    client.conversations.delete_conversation(id_)
    forget(client.paths.sessions, f"{id_}.")
    client.bus.publish(LibraryChanged(id_))


def bring_back(client: Client, item: TrashItem) -> Entry | Conversation:
    """Take an entry, which is indexed again, or a conversation from the trash. Raises NotFoundError."""
    record: Entry | Conversation
    match item.kind:
        case TrashKind.ENTRY:
            record = client.journal.bring_back(item.id)
            client.ingest(record)
        case TrashKind.CONVERSATION:
            record = client.conversations.bring_back(item.id)
    client.bus.publish(LibraryChanged(item.id))
    return record


def _cancel(client: Client, kind: JobKind, subject: str) -> None:
    for queued in client.queue():
        if queued.job.kind is kind and queued.job.subject == subject:
            client.cancel(queued.job.id)
