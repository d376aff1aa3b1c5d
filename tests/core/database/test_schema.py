"""Data of the version before are migrated after a copy; data of a later version are only read."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from redis import RedisError

from app.client import Client
from app.library_changes import delete_entry, new_entry, write_entry
from app.runtime.owner import Runtime
from app.tui.app import CharlieApp
from app.tui.opening import Opened
from core.database import keys
from core.database.connection import NEWER, explain
from core.database.schema import SCHEMA
from core.errors import DatabaseError
from core.events.types import Heartbeat, JobChanged, JobKind, JobState, Phase, Snapshot
from core.events.wire import decode_known, encode
from core.library.backups import Backups, today
from core.library.records import Conversation, Entry, StoredMessage, decode
from core.library.records import encode as encode_record
from core.paths import find_paths
from core.programs.in_use import in_use
from core.settings_file import load_settings
from tasks.jobs.records import Ended, Hits, Job, Text, Thought, decode_output, encode_output
from tests.app.commands.charlie import charlie
from tests.waiting import ended, first, follow_events

VERSION_1 = Path(__file__).parent / "data" / "version1.aof"
"""Two entries, one of them indexed, a conversation, and the text of a deleted entry; made by the version before."""
VERSION_2 = VERSION_1.with_name("version2")
INDEXED = (JobKind.INGEST, JobState.DONE)
DELETED = b"neighbour's tulips"


@contextmanager
def running(*, worker: bool = False) -> Iterator[tuple[Client, Runtime]]:
    client = Client(load_settings(), find_paths())
    with Runtime(client, worker=worker, note=lambda _: None) as runtime:
        yield client, runtime


@pytest.fixture
def old(home: Path) -> Path:
    """A data directory of the version before."""
    paths = find_paths()
    paths.make()
    shutil.copy(VERSION_1, paths.database / "appendonly.aof")
    return home


@pytest.mark.slow
def test_a_data_directory_of_the_version_before_is_opened_used_and_exported(old: Path, tmp_path: Path) -> None:
    paths = find_paths()
    assert DELETED in (paths.database / "appendonly.aof").read_bytes()
    with running() as (client, _):
        assert client.redis.get(keys.SCHEMA) == str(SCHEMA)
        second, first = client.journal.entries()
        assert first.text == "A long walk by the river.\nThe café was closed, and the heron stood still."
        (conversation,) = client.conversations.conversations()
        question, answer = client.conversations.messages(conversation.id)
        assert (question.text, answer.role) == ("Where does the heron sleep?", "assistant")
        job = client.jobs.find(answer.id)
        assert job is None or job.state.ended  # a job expires a day after its end
        write_entry(client, second.id, "Only sun.", base=second.revision)
        delete_entry(client, first.id)
        new_entry(client, "The first entry of this version.")
    # Migrated after a copy, and without the text that the version before left in the file.
    assert f"before-schema-{SCHEMA}-{today()}" in Backups(paths.backups).names()
    assert DELETED not in (paths.database / "appendonly.aof").read_bytes()
    assert charlie(old, "journal", "search", "sun", "--json").json["hits"][0]["entry"] == second.id
    assert charlie(old, "export", str(tmp_path / "export")).code == 0
    exported = json.loads((tmp_path / "export" / "library.json").read_text())
    assert (exported["charlie_export"], exported["schema"]) == (2, SCHEMA)
    assert [each["text"] for each in exported["entries"]] == ["Only sun.", "The first entry of this version."]
    copy = charlie(old, "backup", "restore", f"before-schema-{SCHEMA}-{today()}", "--yes")
    assert "1 would be added, 1 replaced" in copy.err
    with running() as (client, _):
        assert client.journal.entry(first.id).text == first.text
        assert len(Backups(paths.backups).names()) == 2  # migrated once


@pytest.mark.slow
def test_starters_of_the_version_before_give_way_to_the_bundled_models(home: Path) -> None:
    """Two indexed entries, one with a mood; a compiled title in use; the starter's file in the settings."""
    paths = find_paths()
    paths.make()
    paths.programs.mkdir()
    shutil.copy(VERSION_2 / "appendonly.aof", paths.database)
    shutil.copy(VERSION_2 / "title.json", paths.programs)
    paths.config_file.write_text('[instruct]\nfile = "/an/older/core/starter/starter-instruct.gguf"\n')
    with running(worker=True) as (client, _):
        assert in_use(paths, "title") is None
        events = follow_events(client.bus)
        indexed = first(events, lambda each: isinstance(each, JobChanged) and (each.job, each.state) == INDEXED)
        assert isinstance(indexed, JobChanged)
        (vectors,) = client.redis.keys("charlie:vectors:*")
        assert "starter" not in vectors
        second, heron = client.journal.entries()
        assert set(client.redis.hkeys(vectors)) == {second.id, heron.id}
        assert (heron.mood, heron.suggested_title) == ("sad", "A heron")
        hits = ended(client.jobs, client.search("walk by the river").id).result
        assert hits is not None
        assert hits["hits"][0]["entry"] == heron.id
        job = ended(client.jobs, client.chat(client.conversations.new_conversation().id, "hello").id)
        assert job.result is not None
        assert job.result["bundled"]


@pytest.fixture
def newer(home: Path) -> Entry:
    """Data of a later version, with one entry."""
    with running() as (client, _):
        entry = client.journal.new_entry("Written by a later version.")
        fields = json.loads(client.redis.get(keys.entry(entry.id)))
        client.redis.set(keys.entry(entry.id), json.dumps(fields | {"colour": "green"}))
        client.redis.set(keys.SCHEMA, SCHEMA + 1)
    return entry


def test_newer_data_are_only_read(home: Path, newer: Entry) -> None:
    before = (find_paths().database / "appendonly.aof").read_bytes()
    with running(worker=True) as (client, runtime):
        assert runtime.notice == NEWER
        assert client.journal.entries() == [newer]
        conversation = "066160358d952a4f14bd74"
        for write in (
            lambda: new_entry(client, "lost?"),
            lambda: write_entry(client, newer.id, "other"),
            lambda: delete_entry(client, newer.id),
            lambda: client.unload(),
            lambda: client.chat(conversation, "hello"),
        ):
            with pytest.raises(RedisError) as caught:
                write()
            assert explain(caught.value).message == NEWER
        # Also after the server was started again.
        assert runtime._server is not None
        runtime._server.process.kill()
        runtime._server.process.wait(20)
        runtime.tick()
        with pytest.raises(RedisError):
            new_entry(client, "lost?")
        assert client.snapshot().worker_pid is None
        # A second process attaches and reads; its writes are refused.
        assert charlie(home, "journal", "list", "--json").json[0]["title"] == newer.title
        added = charlie(home, "journal", "add", "lost?")
        assert (added.code, added.out) == (1, "")
        assert f"charlie: {NEWER}" in added.err
    assert (find_paths().database / "appendonly.aof").read_bytes() == before
    assert NEWER in charlie(home, "journal", "list").err


@pytest.mark.slow
def test_the_interface_shows_newer_data(newer: Entry) -> None:
    async def visit(client: Client, runtime: Runtime) -> list[str]:
        said = (notice for notice in [runtime.notice])
        app = CharlieApp(lambda: Opened(client, runtime.tick, said))
        async with app.run_test(size=(100, 30)) as pilot:
            await app.opened()
            await pilot.pause(0.05)
            shown = [note.message for note in app._notifications]
            for key in ("f3", "down", "enter", "x", "f4", "u", "f5", "f2", "h", "i", "enter"):
                await pilot.press(key)
                await pilot.pause(0.05)
        assert app.failure is None
        return shown

    with running(worker=True) as (client, runtime):
        shown = asyncio.run(visit(client, runtime))
        assert NEWER in shown
        assert client.journal.entries() == [newer]


def test_another_owner_of_newer_data_is_not_written_to(newer: Entry) -> None:
    """A later version owns the database and allows writes; this version must not attach."""
    with running() as (client, _):
        client.redis.execute_command("ACL", "SETUSER", "default", "+@write")
        with pytest.raises(DatabaseError, match="later version"), running():
            pass


def test_fields_of_later_versions_are_ignored(client: Client) -> None:
    def extended(text: str) -> str:
        return json.dumps({**json.loads(text), "colour": "green"})

    job = client.unload()
    assert decode(Job, extended(encode_record(job))) == job
    for output in (Text("a"), Thought("b"), Hits((), reranked=True), Ended(client.jobs.get(job.id).state)):
        assert decode_output(extended(encode_output(output))) == output
    snapshot, heartbeat = Snapshot(seq=3, phase=Phase.WARM), Heartbeat(7)
    assert decode_known(Snapshot, extended(encode(snapshot))) == snapshot
    assert decode_known(Heartbeat, extended(encode(heartbeat))) == heartbeat
    assert decode_known(Snapshot, '{"phase": "asleep"}') is None
    assert decode_known(Heartbeat, '{"pid": 3, "phase": "asleep"}') is None
    conversation, message = Conversation("a", "b", 1.0, 2.0), StoredMessage("a", "user", "b")
    assert decode(Conversation, extended(json.dumps(asdict(conversation)))) == conversation
    assert decode(StoredMessage, extended(json.dumps(asdict(message)))) == message
