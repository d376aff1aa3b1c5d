"""The daily backups: which are kept, what they hold, and a full disk."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest

from app.client import Client
from app.library_changes import delete_conversation, delete_entry
from core.errors import CharlieError
from core.library.backup_export import export_library
from core.library.backup_import import import_library, read_export
from core.library.backups import Backups, today
from core.library.records import Restored, StoredMessage
from core.text import new_id

FORMAT_1 = Path(__file__).parent / "data" / "format1"


@pytest.fixture
def backups(client: Client) -> Backups:
    return Backups(client.paths.backups)


def texts(client: Client, name: str) -> list[str]:
    library = json.loads((client.paths.backups / name / "library.json").read_text())
    return [each["text"] for each in library["entries"]]


def test_the_last_seven_and_one_of_each_month_are_kept(client: Client, backups: Backups) -> None:
    client.journal.new_entry("A walk.")
    export_library(client, client.paths.backups / "2023-01-01")
    days = [f"2023-{month:02}-{day:02}" for month in range(1, 13) for day in (3, 28)]
    days += [f"2024-{month:02}-{day:02}" for month in (1, 2) for day in range(1, 29)]
    for name in (*days, "before-schema-2-2023-01-01"):
        shutil.copytree(client.paths.backups / "2023-01-01", client.paths.backups / name)
    (client.paths.backups / "2024-01-15" / "library.json").unlink()  # unfinished
    (client.paths.backups / "notes").mkdir()
    backups.make(client, today())
    last = [f"2024-02-{day}" for day in range(23, 29)]
    months = [f"2023-{month:02}-28" for month in range(4, 13)] + ["2024-01-28"]
    assert backups.names() == ["before-schema-2-2023-01-01", *months, *last, today()]
    assert (client.paths.backups / "notes").is_dir()


def test_an_empty_library_has_no_backup(client: Client, backups: Backups) -> None:
    assert backups.make(client, today()) is None
    assert not client.paths.backups.exists()


def test_backups_are_written_again_without_what_left_the_trash(client: Client, backups: Backups) -> None:
    stays, goes = client.journal.new_entry("This one stays."), client.journal.new_entry("This one goes.")
    conversation = client.conversations.new_conversation("Goes, too")
    client.conversations.put_message(conversation.id, StoredMessage(new_id(), "user", "Hello"))
    for name in ("2024-01-01", "before-schema-2-2024-01-02"):
        backups.make(client, name)
    delete_entry(client, goes.id)
    backups.make(client, "2024-01-03")
    delete_conversation(client, conversation.id)
    client.trash.purge([goes.id, conversation.id])
    backups.make(client, "2024-01-04")

    purged = client.trash.purged()
    held = ("2024-01-01", "before-schema-2-2024-01-02", "2024-01-03")
    assert backups.renew(purged) == held
    assert backups.holding(purged) == ()
    for name in backups.names():
        assert texts(client, name) == [stays.text]
        assert [each.id for each in read_export(backups.path(name)) if hasattr(each, "id")] == [stays.id]
    written = [path for path in client.paths.backups.rglob("*") if path.is_file()]
    assert {path.name for path in written} == {"library.json"}
    assert not any(b"goes" in path.read_bytes().lower() for path in written)


def test_what_was_imported_again_stays_in_the_backups(client: Client, backups: Backups) -> None:
    entry = client.journal.new_entry("Gone, and brought back.")
    export_library(client, client.paths.backups / "2024-01-01")
    delete_entry(client, entry.id)
    client.trash.purge([entry.id])
    import_library(client, client.paths.backups / "2024-01-01", backup=True)
    assert client.trash.purged() == []


def test_a_restored_text_replaces_the_newer_one_which_becomes_a_revision(client: Client) -> None:
    folder = client.paths.backups / "2024-01-01"
    changed, deleted = client.journal.new_entry("As it was."), client.journal.new_entry("Deleted since.")
    export_library(client, folder)
    client.journal.write_entry(changed.id, "Spoiled.")
    delete_entry(client, deleted.id)
    client.trash.purge([deleted.id])
    before = client.journal.entries()
    planned = import_library(client, folder, backup=True, dry_run=True)
    assert client.journal.entries() == before
    done = import_library(client, folder, backup=True)
    assert done.entries == planned.entries
    assert (done.entries[Restored.ADDED], done.entries[Restored.RENEWED]) == (1, 1)
    assert client.journal.entry(changed.id).text == "As it was."
    assert "Spoiled." in [each.text for each in client.history.revisions(changed.id)]
    assert import_library(client, folder, backup=True).entries[Restored.SAME] == 2


def test_a_full_disk_leaves_no_unfinished_backup_and_the_earlier_ones(client: Client, backups: Backups) -> None:
    client.journal.new_entry("A walk.")
    backups.make(client, "2024-01-01")
    before = (client.paths.backups / "2024-01-01" / "library.json").read_bytes()
    client.journal.new_entry("x" * 100_000)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, unlimited[1]))  # bytes; needs no file system to be mounted
    try:
        with pytest.raises(CharlieError, match="File too large"):
            backups.make(client, today())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert [path.name for path in client.paths.backups.iterdir()] == ["2024-01-01"]
    assert (client.paths.backups / "2024-01-01" / "library.json").read_bytes() == before
    backups.make(client, today())
    assert backups.names()[-1] == today()


def test_an_export_of_format_1_is_read(client: Client) -> None:
    """Made by the version before."""
    done = import_library(client, FORMAT_1)
    assert (done.entries[Restored.ADDED], done.conversations[Restored.ADDED]) == (2, 1)
    first = client.journal.entries()[-1]
    assert first.text == "A long walk by the river.\nThe café was closed, and the heron stood still."
    assert (first.zone, first.tags, first.starred) == ("", (), False)
    assert [each.role for each in client.conversations.messages(client.conversations.conversations()[0].id)] == [
        "user", "assistant",
    ]  # fmt: skip
    assert import_library(client, FORMAT_1).entries[Restored.SAME] == 2
