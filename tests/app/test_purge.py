"""What left the trash is in no file afterwards. The database is a real redis-server."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from app.client import Client
from app.library_changes import bring_back, delete_conversation, delete_entry
from app.purge import REMOVED, purge, remove_quotes
from core.database import keys
from core.database.rewrite import rewrite
from core.errors import NotFoundError
from core.events.types import JobChanged, JobKind, JobState
from core.library.backup_export import export_library
from core.library.drafts import Draft
from core.library.records import Entry, StoredMessage
from core.text import new_id
from tasks.jobs.records import Ended, Job, Text
from tests.parked import park

WRITTEN = 'Zwölf Hühner im "Garten", nobody\'s business'
TITLE = "Hühnerhof hinten"
THOUGHT = "Hühner sind Vögel, glaube ich"


def holding(home: Path, *texts: str) -> list[str]:
    """The files below `home` that hold one of the texts, as it is or in JSON."""
    forms = [form.encode() for text in texts for form in (text, json.dumps(text)[1:-1], repr(text)[1:-1])]
    files = [path for path in home.rglob("*") if path.is_file()]
    return [str(path.relative_to(home)) for path in files if any(form in path.read_bytes() for form in forms)]


def done(client: Client, kind: JobKind, subject: str, ended: Ended) -> Job:
    """A job that has ended, with a text in its output."""
    job = client.jobs.new(kind, {"query": WRITTEN}, subject)
    client.jobs.add(client.redis, job)
    client.jobs.advance(job.id, JobState.RUNNING, {JobState.QUEUED})
    client.jobs.write(job.id, Text(f"You wrote: {WRITTEN}"))
    client.jobs.end(job.id, ended)
    return job


@pytest.fixture
def entry(client: Client) -> Entry:
    """An entry with everything that is made of one."""
    entry = client.journal.new_entry(f"First.\n{WRITTEN}")
    client.journal.write_entry(entry.id, f"{WRITTEN}\nonce more", writer="test")
    client.journal.describe_entry(entry.id, 2, TITLE)
    client.redis.hset(keys.vectors("model"), entry.id, json.dumps([WRITTEN]))
    client.redis.sadd(keys.INDEXES, keys.vectors("model"))
    client.drafts.put(Draft(f"entry:{entry.id}", f"{WRITTEN} and a draft"))
    session = client.paths.sessions / "model" / "journal-1.kv"
    session.parent.mkdir(parents=True)
    session.write_text(WRITTEN)
    park(client, entry, f"cannot read {WRITTEN}")
    done(client, JobKind.ASK, "", Ended(JobState.DONE, {"text": WRITTEN}))
    done(client, JobKind.INGEST, entry.id, Ended(JobState.FAILED, error=f"no index of {WRITTEN!r}"))
    return entry


def delete(client: Client, entry: Entry) -> None:
    """As after a race: an index, a KV cache and a draft were written again."""
    client.drafts.put(Draft(f"entry:{entry.id}", f"{WRITTEN} and a draft"))
    delete_entry(client, entry.id)
    client.redis.hset(keys.vectors("model"), entry.id, json.dumps([WRITTEN]))
    (client.paths.sessions / "model" / "journal-2.kv").write_text(WRITTEN)


def test_a_purged_entry_is_in_no_file(client: Client, home: Path, entry: Entry) -> None:
    other = client.journal.new_entry("This one stays.")
    waiting = client.search("waits in the queue")
    worker_log = client.paths.logs / "worker.log"
    worker_log.write_text(f"before\nfailed: {WRITTEN}\nTraceback {WRITTEN!r}\nafter\n")
    delete(client, entry)
    assert len(holding(home, WRITTEN)) == 4  # a session, a draft, the log and the database
    assert purge(client, [entry.id]).count == 1
    assert worker_log.read_text().splitlines()[::3] == ["before", "after"]
    assert rewrite(client.redis, 10)
    assert holding(home, WRITTEN, WRITTEN.partition(" im ")[0], TITLE) == []
    assert client.journal.entries() == [other]
    assert client.jobs.get(waiting.id).state is JobState.QUEUED
    assert client.jobs.parked() == []
    with pytest.raises(NotFoundError):
        client.trash.item(entry.id)


def test_a_purged_conversation_is_in_no_file(client: Client, home: Path) -> None:
    conversation = client.conversations.new_conversation(TITLE)
    client.conversations.put_message(conversation.id, StoredMessage(new_id(), "user", WRITTEN))
    reply = StoredMessage(new_id(), "assistant", f"{WRITTEN}?", reasoning=THOUGHT)
    client.conversations.put_message(conversation.id, reply)
    client.conversations.put_message(conversation.id, replace(reply, id=new_id()))
    worker_log = client.paths.logs / "worker.log"
    worker_log.write_text(f"before\nit thought {THOUGHT}\nafter\n")
    assert holding(home, THOUGHT)
    client.conversations.delete_messages(conversation.id, [reply.id])
    session = client.paths.sessions / "model" / f"{conversation.id}.kv"
    session.parent.mkdir(parents=True)
    delete_conversation(client, conversation.id)
    session.write_text(WRITTEN)
    client.drafts.put(Draft(f"chat:{conversation.id}", WRITTEN))
    purge(client, [conversation.id])
    assert rewrite(client.redis, 10)
    assert holding(home, WRITTEN, TITLE, THOUGHT) == []


def test_what_was_brought_back_is_not_purged(client: Client, entry: Entry) -> None:
    delete_entry(client, entry.id)
    bring_back(client, client.trash.item(entry.id))
    assert purge(client, [entry.id]).count == 0
    assert client.journal.entry(entry.id).text == f"{WRITTEN}\nonce more"
    assert [revision.text for revision in client.history.revisions(entry.id)] == [f"First.\n{WRITTEN}"]


def test_backups_that_still_hold_it_are_named(client: Client, entry: Entry) -> None:
    other = client.journal.new_entry("This one stays.")
    export_library(client, client.paths.backups / "2024-01-02")
    delete(client, entry)
    export_library(client, client.paths.backups / "2024-01-03")
    assert purge(client, [entry.id]).backups == ("2024-01-02",)
    delete_entry(client, other.id)
    assert purge(client, [other.id]).backups == ("2024-01-02", "2024-01-03")


def test_errors_leave_the_history_and_other_changes_stay(client: Client, entry: Entry) -> None:
    client.bus.publish(JobChanged("1", JobKind.CHAT, JobState.DONE))
    delete(client, entry)
    purge(client, [entry.id])
    changes = [each for each in client.bus.history() if isinstance(each, JobChanged)]
    assert changes[-1].id == "1"
    assert not any(each.error for each in changes)


def test_lines_that_quote_are_overwritten_while_another_process_appends(tmp_path: Path) -> None:
    """A writer that has the file open goes on after its last line."""
    file = tmp_path / "worker.log"
    handler = logging.FileHandler(file)
    log = logging.getLogger("test_purge")
    log.propagate = False
    log.addHandler(handler)
    for line in (
        "one",
        f"quotes {WRITTEN[:43]}",
        "Bought milk",
        "Bought milkshakes",
        json.dumps({"a": WRITTEN}),
        "no",
        "two",
    ):
        log.warning(line)
    size = file.stat().st_size
    remove_quotes(tmp_path, [f"{WRITTEN}, and so on", "Bought milk", "no"])
    assert file.stat().st_size == size
    log.warning("three")
    handler.close()
    lines = file.read_text().splitlines()
    assert [line for line in lines if not line.startswith(REMOVED.decode())] == [
        "one", "Bought milkshakes", "no", "two", "three",
    ]  # fmt: skip
