"""Models that one question to the journal loads, with a reranker: none while all stay warm, else three in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.client import Client
from core.events.bus import Bus
from core.events.types import JobState
from core.library.conversations import Conversations
from core.library.journal import Journal
from core.roles import Role
from core.settings import Policy
from core.settings_file import SettingsFile
from states.manager import ModelManager
from tasks.handlers.context import TaskContext
from tasks.worker.runner import Runner
from tests.states.walks import changes, most_loaded, steps

LOADS = {Policy.FITTING: 0, Policy.AUTO: 0, Policy.EXCLUSIVE: 3}


@pytest.mark.parametrize("policy", Policy)
def test_the_events_of_a_question(
    client: Client, tiny: dict[Role, Path], monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    monkeypatch.setenv("CHARLIE_RERANKER__FILE", str(tiny[Role.RERANKER]))
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", policy.value)
    bus = Bus(client.redis)
    manager = ModelManager(SettingsFile(), client.paths, bus)
    context = TaskContext(manager, bus, client.jobs, Conversations(client.redis), Journal(client.redis), client._raw)
    work = Runner(context)

    def ask() -> None:
        job = client.ask("Where did I walk with Mira?")
        work.run(job.id)
        done = client.jobs.find(job.id)
        assert done is not None
        assert (done.state, done.error) == (JobState.DONE, "")

    work.run(client.ingest(client.journal.new_entry("I walked by the river with Mira.")).id)
    ask()
    warm = client.snapshot().seq
    ask()
    history = steps(changes(client.bus, warm))
    loads = [step for step in history if step.startswith("loaded ")]
    assert len(loads) == LOADS[policy]
    assert most_loaded(changes(client.bus)) == (1 if policy is Policy.EXCLUSIVE else 3)
    if policy is Policy.EXCLUSIVE:
        assert loads == ["loaded embedding", "loaded reranker", "loaded instruct"]
        assert history[:2] == ["unload instruct", "unloaded instruct"]
    else:
        assert history == []
        assert client.snapshot().policy == "fitting"
    manager.unload_all("the test is over")
