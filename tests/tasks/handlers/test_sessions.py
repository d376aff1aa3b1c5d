"""A conversation reuses its KV cache after a swap, and after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.client import Client
from app.library_changes import delete_conversation, delete_entry
from app.runtime.owner import Runtime
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tests.tasks.conftest import configure_slow
from tests.waiting import ended

TEXT = "many words " * 200


def chat(client: Client, conversation: str, text: str) -> dict[str, int]:
    last = ended(client.jobs, client.chat(conversation, text, max_tokens=5).id)
    assert last.result is not None, last
    return last.result


@pytest.mark.slow
def test_a_conversation_is_evaluated_once_across_swaps(home: Path, slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "exclusive")
    configure_slow(slow)
    with Runtime(client := Client(load_settings(), find_paths())):
        conversation = client.conversations.new_conversation().id
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
        delete_conversation(client, conversation)
        assert not list(client.paths.sessions.glob("*/*.kv"))
    assert not list(client.paths.sessions.glob("*/*.kv"))


@pytest.mark.slow
def test_no_session_is_kept_with_a_limit_of_zero(home: Path, slow: Path) -> None:
    assert home
    configure_slow(slow)
    config = find_paths().config_file
    config.write_text(f"{config.read_text()}\n[sessions]\nlimit = 0\n")
    with Runtime(client := Client(load_settings(), find_paths())):
        conversation = client.conversations.new_conversation().id
        chat(client, conversation, TEXT)
        ended(client.jobs, client.unload().id)
        assert chat(client, conversation, "And then?")["reused_tokens"] == 0
    assert not list(client.paths.data.glob("sessions/*/*.kv"))


def ask(client: Client, question: str) -> dict[str, int]:
    last = ended(client.jobs, client.ask(question, limit=1, max_tokens=5).id)
    assert last.result is not None, last
    return last.result


def test_journal_entries_are_evaluated_once_across_questions(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question swaps three times; both prompts begin with the entry."""
    assert home
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", "exclusive")
    with Runtime(client := Client(load_settings(), find_paths())):
        entry = client.journal.new_entry("A long walk by the river, and bread with friends. " * 10)
        assert ended(client.jobs, client.ingest(entry).id).result is not None
        first = ask(client, "Where was I?")
        assert first["reused_tokens"] == 0
        second = ask(client, "Who was with me?")
        assert second["load_ms"] > 0
        assert second["reused_tokens"] > first["prompt_tokens"] // 2
        ended(client.jobs, client.unload().id)
        assert list(client.paths.sessions.glob("*/journal-*.kv"))
        ask(client, "What was it like?")
        delete_entry(client, entry.id)  # while it is in the KV cache of the loaded model
        assert not list(client.paths.sessions.glob("*/journal-*"))
        ended(client.jobs, client.unload().id)
        assert not list(client.paths.sessions.glob("*/journal-*"))
