"""The thought before a reply, in the library: stored, replaced, brought back, exported; older data have none."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from app.client import Client
from core.database import keys
from core.library.backup_export import export_library
from core.library.backup_import import import_library
from core.library.markdown import markdown_of
from core.library.records import Restored, StoredMessage
from core.text import fold

THOUGHT = "The person wants comfort."
REPLY = StoredMessage("2", "assistant", "It was the river.", 1e9, reasoning=f"{THOUGHT}\ud800")


def conversation(client: Client) -> str:
    id_ = client.conversations.new_conversation().id
    client.conversations.put_message(id_, StoredMessage("1", "user", "Who was it?", 1e9))
    client.conversations.put_message(id_, REPLY)
    return id_


def test_a_thought_is_stored_and_not_searched(client: Client) -> None:
    id_ = conversation(client)
    _, reply = client.conversations.messages(id_)
    assert reply.reasoning == f"{THOUGHT}\ufffd"
    assert client.conversations.containing(fold("wants comfort")) == set()
    assert client.conversations.conversation(id_).title == "Who was it?"
    assert THOUGHT not in markdown_of(client.conversations.conversation(id_), [reply])


def test_a_replaced_reply_comes_back_with_its_thought(client: Client) -> None:
    id_ = conversation(client)
    client.conversations.put_message(id_, StoredMessage("3", "assistant", "It was me.", 1e9, reasoning="Hm."))
    client.conversations.delete_messages(id_, ["2"])
    (revision,) = client.history.revisions(id_)
    assert revision.reasoning.startswith(THOUGHT)
    client.conversations.bring_back_reply(id_, revision)
    assert [each.reasoning for each in client.conversations.messages(id_)] == ["", revision.reasoning]
    assert client.history.revisions(id_)[0].reasoning == "Hm."


def test_a_thought_is_exported_and_restored(client: Client, tmp_path: Path) -> None:
    id_ = conversation(client)
    before = client.conversations.messages(id_)
    export_library(client, tmp_path / "out")
    assert THOUGHT in (tmp_path / "out" / "library.json").read_text("utf-8")
    assert not any(THOUGHT in path.read_text("utf-8") for path in tmp_path.rglob("*.md"))
    client.conversations.delete_conversation(id_)
    client.trash.purge([id_])
    import_library(client, tmp_path / "out")
    assert client.conversations.messages(id_) == before
    assert import_library(client, tmp_path / "out").conversations[Restored.SAME] == 1


def test_messages_of_an_earlier_version_load_and_are_the_same_after_an_import(client: Client, tmp_path: Path) -> None:
    id_ = client.conversations.new_conversation("t").id
    old = {
        key: value for key, value in asdict(StoredMessage("1", "assistant", "Hi", 1e9)).items() if key != "reasoning"
    }
    client.redis.hset(keys.messages(id_), "1", json.dumps(old))
    assert client.conversations.messages(id_) == [StoredMessage("1", "assistant", "Hi", 1e9)]
    export_library(client, tmp_path / "out")
    assert import_library(client, tmp_path / "out").conversations[Restored.SAME] == 1
