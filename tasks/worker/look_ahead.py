"""Which models the jobs need next, so that room is made with the others."""

from __future__ import annotations

import time

from core.events.types import JobKind
from core.roles import Role
from tasks.handlers.context import TaskContext
from tasks.jobs.records import Job
from tasks.queue.huey_queue import Queue
from tasks.queue.messages import job_ids

ROLES: dict[JobKind, tuple[Role, ...]] = {
    JobKind.CHAT: (Role.INSTRUCT,),
    JobKind.INGEST: (Role.EMBEDDING,),
    JobKind.SEARCH: (Role.EMBEDDING, Role.RERANKER),
    JobKind.ASK: (Role.EMBEDDING, Role.RERANKER, Role.INSTRUCT),
    JobKind.REFLECT: (Role.INSTRUCT, Role.EMBEDDING),  # one of them: a small model only gets quotes
    JobKind.DESCRIBE: (Role.INSTRUCT,),
    JobKind.FEEL: (Role.EMBEDDING,),
    JobKind.WARM: tuple(Role),  # the one that the job names
    JobKind.UNLOAD: (),
    JobKind.PLAN: (),
}
"""The roles that a job of each kind leases, in order: each model is loaded at most once in a job."""
LOOKED_AT = 4
"""Waiting jobs that are read to find one that needs a model."""


def roles_of(job: Job) -> tuple[Role, ...]:
    """The roles that a job leases, in order."""
    return (Role(job.args["role"]),) if job.kind is JobKind.WARM else ROLES[job.kind]


class LookAhead:
    """Answers the manager's question which models are needed next, on any thread."""

    running: Job | None = None

    def __init__(self, context: TaskContext, queue: Queue) -> None:
        self._context = context
        self._queue = queue
        context.manager.next_roles = self.next_roles

    def next_roles(self) -> frozenset[Role]:
        """The loaded roles that the running job has yet to use; when there are none, those of the next waiting job."""
        manager, job = self._context.manager, self.running
        if job is not None:
            ran = time.time() - job.started
            later = {role for role in manager.loaded_roles if manager.idle_seconds(role) > ran}
            if needed := later.intersection(roles_of(job)):
                return frozenset(needed)
        waiting = self._context.jobs.find_all(job_ids(self._queue.storage.enqueued_items(LOOKED_AT)))
        return next((frozenset(roles) for each in waiting if (roles := roles_of(each))), frozenset())
