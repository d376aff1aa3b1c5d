"""Saved data is on the disk, and is written again when its folder is removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.client import Client
from app.runtime.owner import REMOVED, Runtime
from core.errors import DatabaseError
from core.paths import find_paths
from core.settings_file import load_settings
from tests.e2e.processes import until


@pytest.fixture
def client(home: Path) -> Client:
    assert home
    return Client(load_settings(), find_paths())


def test_a_write_is_in_the_file_before_the_file_is_synced(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        synced.append(os.pread(descriptor, 1_000_000, 0))
        fsync(descriptor)

    with Runtime(client, worker=False):
        monkeypatch.setattr(os, "fsync", seen)
        conversation = client.conversations.new_conversation()
        writes: list[tuple[Callable[[], object], bytes]] = [
            (lambda: client.journal.new_entry("An entry of mine."), b"An entry of mine."),
            (lambda: client.conversations.rename_conversation(conversation.id, "A title of mine"), b"A title of mine"),
            (lambda: client.chat(conversation.id, "A message of mine."), b"A message of mine."),
        ]
        for write, text in writes:
            synced.clear()
            write()
            assert any(text in data for data in synced)
        synced.clear()
        client.redis.set("whatever", "nobody waits for")
        until(lambda: any(b"nobody waits for" in data for data in synced))


def test_a_removed_folder_is_written_again(client: Client) -> None:
    with Runtime(client, worker=False) as running:
        entry = client.journal.new_entry("Not to be lost.")
        shutil.rmtree(client.paths.data)
        with pytest.raises(DatabaseError, match="Nothing can be saved now"):
            client.journal.new_entry("Told that it is not saved.")
        assert running.tick() == REMOVED
        assert running.tick() == ""
        assert client.journal.entry(entry.id) == entry
        client.journal.new_entry("Saved again.")
    with Runtime(client, worker=False):
        assert {"Not to be lost.", "Saved again."} <= {each.text for each in client.journal.entries()}


def test_a_repeated_output_is_stored_once(client: Client) -> None:
    """redis-py repeats a command when the connection is lost before the answer."""
    from tasks.jobs.records import Text

    with Runtime(client, worker=False):
        job = client.unload()
        client.jobs.write(job.id, Text("one "))
        xadd = client.redis.xadd

        def twice(*args: object, **options: object) -> object:
            xadd(*args, **options)
            return xadd(*args, **options)

        client.redis.xadd = twice
        client.jobs.write(job.id, Text("two"))
        assert client.jobs.written(job.id) == "one two"
