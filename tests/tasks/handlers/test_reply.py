"""The progress of a reply, and the notes on its prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redis import Redis

from app.client import Client
from app.runtime.owner import Runtime
from core.events.bus import Bus
from core.events.types import Event, JobProgress, Snapshot
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tasks.handlers.reply import ReplyProgress
from tasks.jobs.store import Jobs
from tasks.jobs.text_writer import TextWriter
from tests.model_variants import variant
from tests.waiting import ended


class Heard(Bus):
    """Keeps published events instead of sending them."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: Event, snapshot: Snapshot | None = None) -> None:
        assert snapshot is None
        self.events.append(event)


def test_one_token_has_no_rate() -> None:
    heard = Heard()
    with TextWriter(Jobs(Redis()), "job") as writer:
        ReplyProgress(heard, "job", writer).decoded("decode")
    (event,) = heard.events
    assert isinstance(event, JobProgress)
    assert (event.done, event.tokens_per_second) == (1, 0.0)


def test_a_template_that_was_not_used_is_noted_once_in_a_conversation(home: Path, tiny: dict[Role, Path]) -> None:
    file = variant(tiny[Role.INSTRUCT], home / "broken.gguf", template="{% frobnicate %}")
    paths = find_paths()
    paths.make()
    paths.config_file.write_text(f'[instruct]\nfile = "{file}"\n')
    note = (
        "The model's chat template could not be used, so the prompt has a plain form: "
        "Encountered unknown tag 'frobnicate'."
    )
    with Runtime(client := Client(load_settings(), paths)):

        def result(job: str) -> dict[str, Any]:
            last = ended(client.jobs, job)
            assert last.result is not None, last
            return last.result

        for _ in range(2):
            conversation = client.conversations.new_conversation().id
            replies = [client.chat(conversation, text, max_tokens=5).id for text in ("hello", "and then?", "well?")]
            assert [result(job)["note"] for job in replies] == [note, "", ""]
        stored = [turn.stats["note"] for turn in client.conversations.messages(conversation) if turn.stats]
        assert stored == [note, "", ""]
        result(client.ingest(client.journal.new_entry("A long walk by the river.")).id)
        assert note in result(client.ask("Where was I?", max_tokens=5).id)["note"]
    assert sum(text.count(note) for text in (path.read_text() for path in paths.logs.glob("*.log"))) == 1
