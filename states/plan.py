"""The plan of a load, made before anything is loaded: what is needed, what is free, what goes first, what is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.footprint import CONTEXT_STEP, RAM, Footprint

if TYPE_CHECKING:
    from core.events import Memory
    from core.model_files import ModelSpec
    from core.settings import MemorySettings, Role

Measure = Callable[["ModelSpec"], Footprint]
"""What a spec takes when it is loaded just as it says."""
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Warm:
    """The model that goes first, and the bytes that come back with it: of RAM, and of each accelerator."""

    role: Role
    ram: int
    devices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """`spec` is what is loaded, its context and layers chosen; when it does not fit, the least that was tried.

    `needed` and `available` are bytes by device, RAM being one of them.
    """

    spec: ModelSpec
    fits: bool
    need: Footprint
    needed: dict[str, int]
    available: dict[str, int]
    unload: tuple[str, ...]
    reason: str
    hint: str = ""


def make_plan(
    spec: ModelSpec, measure: Measure, now: Memory, reserve: MemorySettings, warm: Warm | None = None
) -> Plan:
    """Choose the most of a spec that fits: all layers offloaded, else as many as fit; within that the largest context.

    Layers and context are chosen between what the spec wants and the least that it accepts. What `warm` gives back
    counts as free; the reserves never do.
    """
    available = _room(now, reserve, warm)

    def fit(each: ModelSpec) -> bool:
        return not missing(measure(each), now, available)

    def fit_devices(each: ModelSpec) -> bool:
        return missing(measure(each), now, available).keys() <= {RAM}

    if not now.devices:
        spec = replace(spec, gpu_layers=0, least_gpu_layers=0)
    chosen = _choose(spec, fit, fit_devices)
    if chosen is not None:
        return _plan(chosen, measure(chosen), now, available, warm, _chosen(spec, chosen, now))
    least = replace(spec, context_length=spec.least_context, gpu_layers=spec.least_gpu_layers)
    need = measure(least)
    return replace(
        _plan(least, need, now, available, None, _refusal(least, need, now, reserve, available, warm)),
        fits=False,
        hint=_changes(least, fit, need, now, reserve, available),
    )


def fits(need: Footprint, now: Memory, reserve: MemorySettings) -> bool:
    """Whether a footprint fits into what is free now, less the reserves."""
    return not missing(need, now, _room(now, reserve))


def _room(now: Memory, reserve: MemorySettings, warm: Warm | None = None) -> dict[str, int]:
    """Bytes that a load may take, by device; below 0 where even the reserve is not there."""
    back = dict(warm.devices) if warm else {}
    ram = now.available - reserve.ram_reserve + (warm.ram if warm else 0)
    ram += sum(back.get(each.id, 0) for each in now.devices if each.unified)
    return {RAM: ram} | {each.id: each.free - reserve.vram_reserve + back.get(each.id, 0) for each in now.devices}


def needed(need: Footprint, now: Memory) -> dict[str, int]:
    """Bytes that a footprint takes, by device; what is on a device with unified memory is taken from RAM as well."""
    unified = sum(need.devices.get(each.id, 0) for each in now.devices if each.unified)
    return {RAM: need.ram + unified, **{each.id: need.devices.get(each.id, 0) for each in now.devices}}


def missing(need: Footprint, now: Memory, available: Mapping[str, int]) -> dict[str, int]:
    """Bytes by which a footprint is too large, by device; empty when it fits."""
    short = {device: size - available[device] for device, size in needed(need, now).items() if size}
    return {device: size for device, size in short.items() if size > 0}


def _choose(
    spec: ModelSpec, fit: Callable[[ModelSpec], bool], fit_devices: Callable[[ModelSpec], bool]
) -> ModelSpec | None:
    """The best that fits. Fewer layers are the last resort: each costs speed in every token."""
    chosen = _with_largest_context(spec, fit)
    if chosen is not None or spec.least_gpu_layers == spec.gpu_layers:
        return chosen
    least = replace(spec, context_length=spec.least_context)
    # RAM only grows with fewer layers, so of those that fit the devices the most layers decide.
    layers = _most(spec.least_gpu_layers, spec.gpu_layers, lambda n: fit_devices(replace(least, gpu_layers=n)))
    if layers is None:
        return None
    return _with_largest_context(replace(spec, gpu_layers=layers), fit)


def _with_largest_context(spec: ModelSpec, fit: Callable[[ModelSpec], bool]) -> ModelSpec | None:
    if fit(spec):
        return spec
    if spec.least_context == spec.context_length or not fit(replace(spec, context_length=spec.least_context)):
        return None
    low, high = spec.least_context // CONTEXT_STEP, -(-spec.context_length // CONTEXT_STEP)
    steps = _most(low, high, lambda n: n == low or fit(replace(spec, context_length=n * CONTEXT_STEP)))
    return replace(spec, context_length=max(spec.least_context, (steps or 0) * CONTEXT_STEP))


def _most(low: int, high: int, fit: Callable[[int], bool]) -> int | None:
    """The largest number from `low` on below `high` that fits, found by halving; None when not even `low` does."""
    if not fit(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fit(middle) else (low, middle)
    return low


def _plan(
    chosen: ModelSpec, need: Footprint, now: Memory, available: dict[str, int], warm: Warm | None, reason: str
) -> Plan:
    return Plan(
        spec=chosen,
        fits=True,
        need=need,
        needed=needed(need, now),
        available={device: max(0, size) for device, size in available.items()},
        unload=(warm.role.value,) if warm else (),
        reason=reason,
    )


def _chosen(spec: ModelSpec, chosen: ModelSpec, now: Memory) -> str:
    parts = [f"{chosen.context_length:,} of {spec.context_length:,} tokens"]
    if chosen.context_length == spec.context_length:
        parts = [f"{chosen.context_length:,} tokens"]
    if now.devices:
        parts.append(f"{chosen.gpu_layers} of {spec.header.layers + 1} layers on the GPU")
    return f"fits with {', '.join(parts)}"


def _refusal(
    spec: ModelSpec,
    need: Footprint,
    now: Memory,
    reserve: MemorySettings,
    available: Mapping[str, int],
    warm: Warm | None,
) -> str:
    """One sentence with every number."""
    parts = needed(need, now)
    first = f" once {warm.role} is unloaded" if warm else ""
    sentence = (
        f"{spec.name} does not fit: with {spec.context_length:,} tokens of context it needs {gib(parts[RAM])} of RAM "
        f"(weights {gib(need.weights)}, KV cache {gib(need.kv_cache)}, compute {gib(need.compute)} in all), and "
        f"{gib(max(0, available[RAM]))} are free{first}, {gib(reserve.ram_reserve)} of {gib(now.total)} being kept"
    )
    for device in now.devices:
        sentence += (
            f"; on {device.name} it needs {gib(parts[device.id])} and {gib(max(0, available[device.id]))} are free"
        )
        sentence += f", {gib(reserve.vram_reserve)} of {gib(device.total)} being kept"
    return sentence + "."


def _changes(
    spec: ModelSpec,
    fit: Callable[[ModelSpec], bool],
    need: Footprint,
    now: Memory,
    reserve: MemorySettings,
    available: Mapping[str, int],
) -> str:
    """The two or three changes that would make it fit."""
    short, takes = missing(need, now, available), needed(need, now)
    ways = []
    smaller = _with_largest_context(replace(spec, least_context=min(CONTEXT_STEP, spec.context_length)), fit)
    if smaller is not None:
        ways.append(f"with {spec.role}.context_length = {smaller.context_length}")
    if spec.gpu_layers and short.keys() != {RAM}:
        layers = _most(0, spec.gpu_layers, lambda n: fit(replace(spec, gpu_layers=n)))
        if layers is not None:
            ways.append(f"with {spec.role}.gpu_layers = {layers}")
    if short.keys() == {RAM} and short[RAM] <= reserve.ram_reserve:
        ways.append(f"with memory.ram_reserve = {max(0, reserve.ram_reserve - short[RAM])}")
    names = {each.id: f"on {each.name}" for each in now.devices}
    kept = {RAM: reserve.ram_reserve, **{each.id: reserve.vram_reserve for each in now.devices}}
    totals = {RAM: now.total, **{each.id: each.total for each in now.devices}}
    more = []
    for device, size in short.items():
        where = "free" if takes[device] + kept[device] < totals[device] else "in the machine"
        more.append(f"{gib(size)} more {names.get(device, RAM)} {where}")
    ways.append(f"with {' and '.join(more)}")
    # On unified memory what is missing on the device is what is missing of the RAM.
    largest = need.weights - (max if any(each.unified for each in now.devices) else sum)(short.values())
    file = f"a model file of at most {gib(largest)}" if largest > 0 else "a much smaller model file"
    ways.append(f"with {file} (`charlie models use {spec.role} FILE`)")
    return f"It would fit {', '.join(ways[:-1])}, or {ways[-1]}."


def gib(size: int) -> str:
    """Bytes in steps of 1024, so exact that two sizes which differ look different."""
    return f"{size / GIB:.2f} GB" if size >= GIB // 10 else f"{size / 1024**2:.1f} MB"
