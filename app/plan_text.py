"""Words for a load plan of the worker."""

from __future__ import annotations

from typing import Any

from core.figures import size

PARTS = {"weights": "weights", "kv_cache": "KV cache", "compute": "compute", "overhead": "other"}


def devices(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """Each device, RAM first, with its needed and available memory."""
    available = plan["available"]
    return [
        (device, f"needs {size(needed)}, has {size(available.get(device, 0))}")
        for device, needed in plan["needed"].items()
    ]


def parts(amounts: dict[str, int]) -> str:
    """The total of a footprint and its parts."""
    terms = " + ".join(f"{word} {size(amounts[name])}" for name, word in PARTS.items())
    return f"{size(sum(amounts.values()))}: {terms}"


def offload(plan: dict[str, Any]) -> str:
    """The number of layers on the GPU."""
    if len(plan["needed"]) == 1:
        return "all layers on the CPU"
    return f"{plan['gpu_layers']} of {plan['layers']} layers on the GPU"


def first(plan: dict[str, Any]) -> str:
    """The unloads before the load."""
    return f"unloads {', '.join(plan['unload'])} first" if plan["unload"] else "unloads nothing"


def rows(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """The whole plan as names and values."""
    found = [
        ("model", f"{plan['model']} for {plan['role']}"),
        ("file", plan["file"]),
        ("fits", "yes" if plan["fits"] else "no"),
        *devices(plan),
        ("parts", parts(plan["parts"])),
        ("before", first(plan)),
        ("layers", offload(plan)),
        ("context", f"{plan['context']:,} tokens"),
        ("reason", plan["reason"]),
    ]
    if plan["measured"]:
        found.append(("measured", f"{size(sum(plan['measured']['actual'].values()))} in earlier loads"))
    return [*found, ("hint", plan["hint"])] if plan["hint"] else found
