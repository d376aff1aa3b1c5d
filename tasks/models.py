"""The model tasks: warm a role, unload what is warm."""

from __future__ import annotations

from typing import Any

from core.settings import Role
from tasks.jobs import Job
from tasks.tools import Tools


def warm(tools: Tools, job: Job) -> dict[str, Any]:
    """Make a role's model warm and leave it so."""
    role = Role(job.args["role"])
    with tools.manager.lease(role, tools.stop.is_set) as model:
        tools.begin(job)
        return {
            "role": role.value,
            "model": model.spec.name,
            "starter": model.spec.starter,
            "load_ms": round(tools.manager.load_seconds * 1000, 3),
        }


def unload(tools: Tools, job: Job) -> dict[str, Any]:
    """Unload the warm model, if there is one."""
    tools.begin(job)
    return {"unloaded": tools.manager.unload_model("asked for")}
