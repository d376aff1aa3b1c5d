"""Loads, unloads and plans models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.roles import Role
from tasks.handlers.context import TaskContext
from tasks.handlers.reply import milliseconds
from tasks.jobs.records import Job


def warm(context: TaskContext, job: Job) -> dict[str, Any]:
    """Load a role's model and keep it warm. A preload unloads no other model for it."""
    role = Role(job.args["role"])
    if job.args.get("preload") and not context.manager.can_warm_without_unloading(role):
        return {"role": role.value}
    with context.manager.lease(role, context.stop.is_set) as model:
        context.begin(job)
        load_ms = milliseconds(context.manager.load_seconds)
        return {"role": role.value, "model": model.spec.name, "load_ms": load_ms}


def unload(context: TaskContext, job: Job) -> dict[str, Any]:
    """Unload a role's model, or all models without a role; returns the roles unloaded."""
    context.begin(job)
    manager, role = context.manager, job.args.get("role")
    if role is None:
        return {"unloaded": list(manager.unload_all("asked for"))}
    return {"unloaded": [role] if manager.unload_role(Role(role), "asked for") else []}


def plan(context: TaskContext, job: Job) -> dict[str, Any]:
    """The plan of loading a role's model, or `file` in its place: bytes by device. Loads nothing."""
    context.begin(job)
    file = job.args.get("file")
    made = context.manager.plan(Role(job.args["role"]), Path(file) if file else None)
    measured = context.manager.measured(made)
    found = {"predicted": measured.predicted, "actual": measured.actual} if measured else None
    return {**made.data(), "measured": found}
