"""A conversation goes on where it was after another model had the memory, and after a new start."""

from __future__ import annotations

from pathlib import Path

from app.client import Client
from app.runtime import Runtime
from core.paths import find_paths
from core.settings import Role, load_settings
from tests.tasks.conftest import configure_slow
from tests.waiting import ended

TEXT = "many words " * 200


def chat(client: Client, conversation: str, text: str) -> dict[str, int]:
    last = ended(client.jobs, client.chat(conversation, text, max_tokens=5).id)
    assert last.result is not None, last
    return last.result


def test_nothing_is_evaluated_twice(home: Path, slow: Path) -> None:
    assert home
    configure_slow(slow)
    with Runtime(client := Client(load_settings(), find_paths())):
        conversation = client.library.new_conversation().id
        first = chat(client, conversation, TEXT)
        assert first["reused_tokens"] == 0
        ended(client.jobs, client.warm(Role.EMBEDDING).id)
        second = chat(client, conversation, "And then?")
        assert second["load_ms"] > 0
        assert second["reused_tokens"] >= first["prompt_tokens"]
    with Runtime(client := Client(load_settings(), find_paths())):
        third = chat(client, conversation, "And now?")
        assert third["reused_tokens"] >= second["prompt_tokens"]
        assert list(client.paths.sessions.glob(f"*/{conversation}.kv"))
        client.delete_conversation(conversation)
        assert not list(client.paths.sessions.glob("*/*.kv"))
    assert not list(client.paths.sessions.glob("*/*.kv"))


def test_none_are_kept_without_room(home: Path, slow: Path) -> None:
    assert home
    configure_slow(slow)
    config = find_paths().config_file
    config.write_text(f"{config.read_text()}\n[sessions]\nlimit = 0\n")
    with Runtime(client := Client(load_settings(), find_paths())):
        conversation = client.library.new_conversation().id
        chat(client, conversation, TEXT)
        ended(client.jobs, client.unload().id)
        assert chat(client, conversation, "And then?")["reused_tokens"] == 0
    assert not list(client.paths.data.glob("sessions/*/*.kv"))


def ask(client: Client, question: str) -> dict[str, int]:
    last = ended(client.jobs, client.ask(question, limit=1, max_tokens=5).id)
    assert last.result is not None, last
    return last.result


def test_what_was_read_of_the_journal_is_read_once(home: Path) -> None:
    """Each question swaps three times; the entry is the beginning of both prompts."""
    assert home
    with Runtime(client := Client(load_settings(), find_paths())):
        entry = client.library.new_entry("A long walk by the river, and bread with friends. " * 10)
        assert ended(client.jobs, client.ingest(entry).id).result is not None
        first = ask(client, "Where was I?")
        assert first["reused_tokens"] == 0
        second = ask(client, "Who was with me?")
        assert second["load_ms"] > 0
        assert second["reused_tokens"] > first["prompt_tokens"] // 2
        ended(client.jobs, client.unload().id)
        assert list(client.paths.sessions.glob("*/journal-*.kv"))
        ask(client, "What was it like?")
        client.delete_entry(entry.id)  # while the model has it in memory
        assert not list(client.paths.sessions.glob("*/journal-*"))
        ended(client.jobs, client.unload().id)
        assert not list(client.paths.sessions.glob("*/journal-*"))
