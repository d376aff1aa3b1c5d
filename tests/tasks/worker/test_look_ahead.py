"""What the worker tells the manager about the next need, and how many loads a job takes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from app.client import Client
from core.events.types import JobKind
from core.paths import find_paths
from core.roles import Role
from tasks.jobs.records import Job
from tasks.worker.look_ahead import LookAhead, roles_of
from tasks.worker.runner import Runner
from tests.states.walks import changes
from tests.tasks.conftest import context_here
from tests.tiny_models import configure_reranker


@pytest.fixture
def work(client: Client) -> Iterator[Runner]:
    """A runner in this process, which runs a job when the test says so."""
    configure_reranker(find_paths())
    made = Runner(context_here(client))
    yield made
    made._context.manager.unload_all("the test is over")


def run_next(work: Runner) -> None:
    work.queue.execute(work.queue.dequeue())


def test_each_kind_of_job_has_roles() -> None:
    found = {kind: roles_of(Job("a", kind, {"role": "reranker"})) for kind in JobKind}
    assert found[JobKind.WARM] == (Role.RERANKER,)
    assert {kind for kind, roles in found.items() if not roles} == {JobKind.UNLOAD, JobKind.PLAN}


def test_the_next_job_that_needs_a_model_counts(client: Client, work: Runner) -> None:
    next_roles = work._context.manager.next_roles
    assert next_roles() == frozenset()
    client.plan(Role.INSTRUCT)
    client.search("rain")
    client.warm(Role.INSTRUCT)
    assert next_roles() == {Role.EMBEDDING, Role.RERANKER}
    for _ in range(2):
        run_next(work)
    assert next_roles() == {Role.INSTRUCT}


def test_what_the_running_job_has_yet_to_use_goes_before(client: Client, work: Runner) -> None:
    manager = work._context.manager
    for role in Role:
        with manager.lease(role):
            pass
    ahead = LookAhead(work._context, work.queue)
    client.warm(Role.INSTRUCT)
    ahead.running = Job("a", JobKind.ASK, {}, started=time.time())
    assert ahead.next_roles() == set(Role)
    with manager.lease(Role.EMBEDDING):
        pass
    assert ahead.next_roles() == {Role.RERANKER, Role.INSTRUCT}
    for role in (Role.RERANKER, Role.INSTRUCT):
        with manager.lease(role):
            pass
    assert ahead.next_roles() == {Role.INSTRUCT}  # of the waiting job


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("ask", 3), ("search", 2), ("ingest", 1), ("reflect", 1), ("describe", 0), ("feel", 1)],
)
def test_a_job_loads_each_model_at_most_once(client: Client, work: Runner, kind: str, wanted: int) -> None:
    """With one model at a time. A small model describes nothing, and reflects by quotes."""
    with client.paths.config_file.open("a") as file:
        file.write('[memory]\npolicy = "exclusive"\n')
    client.ingest(client.journal.new_entry("I walked by the river, and it was cold"))
    run_next(work)
    client.unload()
    run_next(work)
    before = client.snapshot().seq
    match kind:
        case "ask":
            client.ask("Where did I walk?", limit=2, max_tokens=4)
        case "search":
            client.search("river")
        case "ingest":
            client.ingest(client.journal.new_entry("Bread, and rain"))
        case "reflect":
            client.reflect()
        case "describe":
            client.submit(JobKind.DESCRIBE, {})
        case "feel":
            client.submit(JobKind.FEEL, {})
    run_next(work)
    loads = [change.role for change in changes(client.bus, before) if change.trigger == "load"]
    assert len(loads) == len(set(loads))
    assert len(loads) == wanted
