"""Mixed jobs on a real worker, under a memory limit that holds two of three models."""

from __future__ import annotations

import random
import resource
import time
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import psutil

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import JobChanged, JobKind, JobState, Lasting, Planned, StateChanged, WorkerLost
from core.paths import find_paths
from core.roles import Role
from core.settings_file import load_settings
from tasks.jobs.records import Job
from tasks.worker.look_ahead import roles_of
from tests.tiny_models import write_encoder, write_instruct
from tests.waiting import deadline, ended

MIB = 1024**2
POSITIONS = 256 * 1024
"""Of an encoder: 64 MiB of weights that cost no time."""
CONTEXT = 64 * 1024
"""Of the instruct model: 64 MiB of KV cache."""
RUN_SECONDS = 480.0
"""The longest time that all jobs take together."""
SETTINGS = """keep_alive = -1
[memory]
policy = "fitting"
ram_reserve = "16MiB"
[instruct]
file = "{instruct}"
context_length = 65536
batch = 32
mmap = false
[embedding]
file = "{embedding}"
context_length = 512
mmap = false
[reranker]
file = "{reranker}"
context_length = 512
mmap = false
"""


@dataclass(frozen=True, slots=True)
class Mixed:
    """The outcome of a run. One model at a time would have taken `exclusive` loads."""

    jobs: list[str]
    """Ids, in the order of submission."""
    done: list[str]
    """Ids, in the order of their ends."""
    loads: int
    exclusive: int
    most: int
    """Models loaded at once."""
    problems: list[str]
    """Refusals, failed jobs, failed loads and lost workers."""


def mixed_jobs(folder: Path, count: int) -> Mixed:
    """Run `count` jobs under a limit that is set once each model was loaded, and the worker has all its threads."""
    paths = find_paths()
    paths.make()
    files = {Role.INSTRUCT: write_instruct(folder / "instruct.gguf", CONTEXT)}
    for role in (Role.EMBEDDING, Role.RERANKER):
        files[role] = write_encoder(folder / f"{role}.gguf", role, POSITIONS)
    paths.config_file.write_text(SETTINGS.format(**files))
    client = Client(load_settings(), paths)
    with Runtime(client):
        for text in ("I walked by the river, and it was cold", "Bread, and rain on the roof"):
            ended(client.jobs, client.ingest(client.journal.new_entry(text)).id)
        ended(client.jobs, client.ask("Where did I walk?", limit=2, max_tokens=4).id)
        ended(client.jobs, client.reflect().id)  # the examples of moods get their vectors once
        ended(client.jobs, client.unload().id)
        limit_to_two(client)
        return run(client, count)


def limit_to_two(client: Client) -> None:
    """Let the worker allocate as much more as the two larger models need, and half of the smallest."""
    plans = {event.role: event.needed["RAM"] for event in client.bus.history() if isinstance(event, Planned)}
    smallest, *larger = sorted(plans.values())
    assert len(larger) == 2, plans
    pid = client.snapshot().worker_pid
    assert pid is not None
    limit = psutil.Process(pid).memory_info().data + sum(larger) + smallest // 2 + 16 * MIB
    resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))


def run(client: Client, count: int) -> Mixed:
    dice, talk = random.Random(7), client.conversations.new_conversation().id
    begun, before = time.time(), client.snapshot()
    jobs = [submit(client, talk, dice) for _ in range(count)]
    *_, _ = deadline(client.jobs.follow(jobs[-1].id), RUN_SECONDS)
    history = [event for event in client.bus.history() if event.at >= begun]
    changes = [event for event in history if isinstance(event, StateChanged)]
    loaded, most = set[str](), 0
    for change in changes:
        if change.trigger == "loaded":
            loaded.add(change.role or "")
        elif change.trigger in ("unloaded", "unload_failed"):
            loaded.discard(change.role or "")
        most = max(most, len(loaded))
    problems = [str(event) for event in history if is_problem(event)]
    if client.snapshot().worker_pid != before.worker_pid:
        problems.append("another worker serves")
    ends = [event for event in history if isinstance(event, JobChanged) and event.state.ended]
    wanted = list(chain.from_iterable(leases(job) for job in jobs))
    return Mixed(
        jobs=[job.id for job in jobs],
        done=[event.id for event in ends if event.state is JobState.DONE],
        loads=sum(change.trigger == "load" for change in changes),
        exclusive=1 + sum(role is not other for role, other in pairwise(wanted)),
        most=most,
        problems=problems,
    )


def submit(client: Client, talk: str, dice: random.Random) -> Job:
    match dice.randrange(8):
        case 0 | 1 | 2:
            return client.chat(talk, "What is it like?", max_tokens=4)
        case 3:
            return client.ingest(client.journal.new_entry(f"Walk {dice.random()} by the river"))
        case 4:
            return client.search("river", limit=3)
        case 5:
            return client.ask("Where did I walk?", limit=2, max_tokens=4)
        case 6:
            return client.reflect()
        case _:
            return client.warm(dice.choice(list(Role)))


def leases(job: Job) -> tuple[Role, ...]:
    """The roles that a job leases in turn; a reflection with a small model quotes, by the embedding model."""
    return (Role.EMBEDDING,) if job.kind is JobKind.REFLECT else roles_of(job)


def is_problem(event: Lasting) -> bool:
    match event:
        case JobChanged(state=state):
            return state in (JobState.FAILED, JobState.INTERRUPTED, JobState.CANCELLED)
        case Planned(fits=fits):
            return not fits
        case StateChanged(trigger=trigger):
            return trigger.endswith("_failed")
        case WorkerLost():
            return True
        case _:
            return False
