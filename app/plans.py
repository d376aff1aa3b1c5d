"""A plan, as the worker made it, in words."""

from __future__ import annotations

from typing import Any

from app.widgets.figures import size

PARTS = {"weights": "weights", "kv_cache": "KV cache", "compute": "compute", "overhead": "overhead"}


def devices(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """Each device, RAM first, with what is needed of what may be taken there."""
    available = plan["available"]
    return [
        (device, f"needs {size(needed)}, has {size(available.get(device, 0))}")
        for device, needed in plan["needed"].items()
    ]


def parts(plan: dict[str, Any]) -> str:
    """What the needs are made of."""
    amounts = plan["parts"]
    sums = " + ".join(f"{said} {size(amounts[name])}" for name, said in PARTS.items())
    return f"{sums} = {size(sum(amounts.values()))}"


def offload(plan: dict[str, Any]) -> str:
    """How many layers go to a GPU; all stay where there is none."""
    if len(plan["needed"]) == 1:
        return "all layers on the CPU"
    return f"{plan['gpu_layers']} of {plan['layers']} layers on the GPU"


def first(plan: dict[str, Any]) -> str:
    """What happens before the load."""
    return f"unloads {', '.join(plan['unload'])} first" if plan["unload"] else "unloads nothing"


def rows(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """The whole plan as names and what is said of each."""
    told = [
        ("model", f"{plan['model']} for {plan['role']}"),
        ("file", plan["file"]),
        ("fits", "yes" if plan["fits"] else "no"),
        *devices(plan),
        ("parts", parts(plan)),
        ("before", first(plan)),
        ("layers", offload(plan)),
        ("context", f"{plan['context']:,} tokens"),
        ("reason", plan["reason"]),
    ]
    return [*told, ("hint", plan["hint"])] if plan["hint"] else told
