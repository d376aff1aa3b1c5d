"""Models that one question to the journal loads, with a reranker: none while all stay warm, else three in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.client import Client
from core.events.types import JobState
from core.roles import Role
from core.settings import Policy
from tasks.jobs.records import Job
from tasks.worker.runner import Runner
from tests.states.walks import changes, most_loaded, steps
from tests.tasks.conftest import context_here

LOADS = {Policy.FITTING: 0, Policy.AUTO: 0, Policy.EXCLUSIVE: 3}


@pytest.mark.parametrize("policy", Policy)
def test_the_events_of_a_question(
    client: Client, tiny: dict[Role, Path], monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    monkeypatch.setenv("CHARLIE_RERANKER__FILE", str(tiny[Role.RERANKER]))
    monkeypatch.setenv("CHARLIE_MEMORY__POLICY", policy.value)
    context = context_here(client)
    work = Runner(context)

    def do(job: Job) -> None:
        while (task := work.queue.dequeue()) is not None:
            work.queue.execute(task)
        done = client.jobs.get(job.id)
        assert (done.state, done.error) == (JobState.DONE, "")

    do(client.ingest(client.journal.new_entry("I walked by the river with Mira.")))
    do(client.ask("Where did I walk with Mira?"))
    warm = client.snapshot().seq
    do(client.ask("Where did I walk with Mira?"))
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
    context.manager.unload_all("the test is over")
