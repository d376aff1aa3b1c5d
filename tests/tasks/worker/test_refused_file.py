"""A file that ends the worker does so once. Real processes."""

from __future__ import annotations

import pytest

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import JobState
from core.roles import Role
from tasks.worker.recovery import INTERRUPTED
from tests.model_files import write_aborting
from tests.tasks.worker.test_recovery import serving, up, worker_pid
from tests.waiting import ended


@pytest.mark.slow
def test_an_assertion_of_llama_cpp_ends_the_worker_once(runtime: tuple[Runtime, Client]) -> None:
    running, client = runtime
    events = serving(running, client)
    file = write_aborting(client.paths.models / "aborting.gguf")
    first = client.plan(Role.INSTRUCT, str(file))
    up(events)
    assert ended(client.jobs, first.id) == INTERRUPTED
    second = worker_pid(client)
    for _ in range(2):
        said = ended(client.jobs, client.plan(Role.INSTRUCT, str(file)).id)
        assert said.state is JobState.FAILED
        assert said.error.startswith("The model aborting.gguf could not be loaded: GGML_ASSERT(")
    assert worker_pid(client) == second
