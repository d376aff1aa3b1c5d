"""The model tasks: warm a role, unload what is warm, say what a load would need."""

from __future__ import annotations

from pathlib import Path
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


def plan(tools: Tools, job: Job) -> dict[str, Any]:
    """What loading a role's model, or `file` in its place, would need and do now. Bytes by device; loads nothing."""
    tools.begin(job)
    file = job.args.get("file")
    made = tools.manager.plan(Role(job.args["role"]), Path(file) if file else None)
    spec, need, measured = made.spec, made.need, tools.manager.measured(made)
    return {
        "role": spec.role.value,
        "model": spec.name,
        "file": str(spec.path),
        "fits": made.fits,
        "needed": made.needed,
        "available": made.available,
        "unload": list(made.unload),
        "gpu_layers": spec.gpu_layers,
        "layers": spec.header.layers + 1,
        "context": spec.context_length,
        "reason": made.reason,
        "hint": made.hint,
        "parts": {
            "weights": need.weights,
            "kv_cache": need.kv_cache,
            "compute": need.compute,
            "overhead": need.overhead,
        },
        "measured": {"predicted": measured.predicted, "actual": measured.actual} if measured else None,
    }
