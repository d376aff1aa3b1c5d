"""Decides before a load whether the model fits: memory needed and free, roles to unload first, context and layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.figures import exact_size
from core.memory.footprint import CONTEXT_STEP, RAM, Footprint
from core.memory.types import Memory
from core.model_files.spec import ModelSpec
from core.roles import Role
from core.settings import MemorySettings

Measure = Callable[["ModelSpec"], Footprint]
"""The footprint of a spec that is loaded exactly as specified."""
Fit = Callable[[ModelSpec], bool]


@dataclass(frozen=True, slots=True)
class WarmModel:
    """A loaded model, and the bytes that come back when it is unloaded: RAM, and memory of each device."""

    role: Role
    ram: int
    devices: Mapping[str, int] = field(default_factory=dict)
    claims: Mapping[str, int] = field(default_factory=dict)
    """What it may still take of the free memory while it stays loaded, by device."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`spec` has the chosen context and layers; if it does not fit, the least that was tried.

    `needed` and `available` are bytes by device, RAM included.
    """

    spec: ModelSpec
    fits: bool
    need: Footprint
    needed: dict[str, int]
    available: dict[str, int]
    unload: tuple[str, ...]
    reason: str
    hint: str = ""

    def data(self) -> dict[str, Any]:
        """As plain data, for another process or a page."""
        spec, need = self.spec, self.need
        return {
            "role": spec.role.value, "model": spec.name, "file": str(spec.path), "fits": self.fits,
            "needed": self.needed, "available": self.available, "unload": list(self.unload),
            "gpu_layers": spec.gpu_layers, "layers": spec.header.layers + 1, "context": spec.context_length,
            "reason": self.reason, "hint": self.hint, "measured": None,
            "parts": {name: getattr(need, name) for name in ("weights", "kv_cache", "compute", "overhead")},
        }  # fmt: skip


def make_plan(
    spec: ModelSpec,
    measure: Measure,
    now: Memory,
    reserve: MemorySettings,
    warm: Sequence[WarmModel] = (),
    stay: Sequence[WarmModel] = (),
) -> Plan:
    """Choose the most of a spec that fits: first as many offloaded layers as possible, then the largest context.

    Both are chosen between the wanted and the least accepted value of the spec. The memory of `warm` models, which are
    unloaded first, counts as free; the claims of those that `stay` and the reserves never do.
    """
    available = _available(now, reserve, warm, stay)

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
    plan = _plan(least, need, now, available, (), "")
    hint = _changes(plan, fit, missing(need, now, available), now, reserve)
    return replace(plan, fits=False, reason=_refusal(plan, now, reserve, warm, stay), hint=hint)


def fits(need: Footprint, now: Memory, reserve: MemorySettings, stay: Sequence[WarmModel]) -> bool:
    """Whether a footprint fits into the free memory less the reserves, beside the models that stay."""
    return not missing(need, now, _available(now, reserve, (), stay))


def _available(
    now: Memory, reserve: MemorySettings, warm: Sequence[WarmModel], stay: Sequence[WarmModel]
) -> dict[str, int]:
    """Bytes that a load may take, by device; negative where even the reserve is not free."""
    back = {each.id: sum(model.devices.get(each.id, 0) for model in warm) for each in now.devices}
    ram = now.available - reserve.ram_reserve + sum(model.ram for model in warm)
    ram += sum(back[each.id] for each in now.devices if each.unified)
    free = {RAM: ram} | {each.id: each.free - reserve.vram_reserve + back[each.id] for each in now.devices}
    return {device: size - sum(model.claims.get(device, 0) for model in stay) for device, size in free.items()}


def needed(need: Footprint, now: Memory) -> dict[str, int]:
    """Bytes that a footprint takes, by device. A device with unified memory takes them from RAM as well."""
    unified = sum(need.devices.get(each.id, 0) for each in now.devices if each.unified)
    return {RAM: need.ram + unified, **{each.id: need.devices.get(each.id, 0) for each in now.devices}}


def missing(need: Footprint, now: Memory, available: Mapping[str, int]) -> dict[str, int]:
    """Bytes missing for a footprint, by device; empty when it fits."""
    short = {device: size - available[device] for device, size in needed(need, now).items() if size}
    return {device: size for device, size in short.items() if size > 0}


def _choose(spec: ModelSpec, fit: Fit, fit_devices: Fit) -> ModelSpec | None:
    """The best that fits. Fewer layers are the last resort: each one costs speed at every token."""
    chosen = _with_largest_context(spec, fit)
    if chosen is not None or spec.least_gpu_layers == spec.gpu_layers:
        return chosen
    least = replace(spec, context_length=spec.least_context)
    # RAM only grows with fewer layers, so of those that fit the devices the most layers decide.
    layers = _most(spec.least_gpu_layers, spec.gpu_layers, lambda n: fit_devices(replace(least, gpu_layers=n)))
    if layers is None:
        return None
    return _with_largest_context(replace(spec, gpu_layers=layers), fit)


def _with_largest_context(spec: ModelSpec, fit: Fit) -> ModelSpec | None:
    if fit(spec):
        return spec
    if spec.least_context == spec.context_length or not fit(replace(spec, context_length=spec.least_context)):
        return None
    low, high = spec.least_context // CONTEXT_STEP, -(-spec.context_length // CONTEXT_STEP)
    steps = _most(low, high, lambda n: n == low or fit(replace(spec, context_length=n * CONTEXT_STEP)))
    return replace(spec, context_length=max(spec.least_context, (steps or 0) * CONTEXT_STEP))


def _most(low: int, high: int, fit: Callable[[int], bool]) -> int | None:
    """The largest fitting number in [low, high), found by bisection; None when not even `low` fits."""
    if not fit(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fit(middle) else (low, middle)
    return low


def _plan(
    chosen: ModelSpec, need: Footprint, now: Memory, available: dict[str, int], warm: Sequence[WarmModel], reason: str
) -> Plan:
    return Plan(
        spec=chosen,
        fits=True,
        need=need,
        needed=needed(need, now),
        available={device: max(0, size) for device, size in available.items()},
        unload=tuple(model.role.value for model in warm),
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
    plan: Plan, now: Memory, reserve: MemorySettings, warm: Sequence[WarmModel], stay: Sequence[WarmModel]
) -> str:
    """One sentence with all numbers."""
    spec, need, needs, available = plan.spec, plan.need, plan.needed, plan.available
    first = f" after unloading {' and '.join(model.role for model in warm)}" if warm else ""
    first += f" beside {' and '.join(model.role for model in stay)} (in use)" if stay else ""
    sentence = (
        f"{spec.name} does not fit: with {spec.context_length:,} tokens of context it needs "
        f"{exact_size(needs[RAM])} of RAM (weights {exact_size(need.weights)}, KV cache {exact_size(need.kv_cache)}, "
        f"compute {exact_size(need.compute)} in all), and {exact_size(available[RAM])} are free{first}, "
        f"{exact_size(reserve.ram_reserve)} of {exact_size(now.total)} being kept"
    )
    for device in now.devices:
        free, kept = exact_size(available[device.id]), exact_size(reserve.vram_reserve)
        sentence += f"; on {device.name} it needs {exact_size(needs[device.id])} and {free} are free"
        sentence += f", {kept} of {exact_size(device.total)} being kept"
    return sentence + "."


def _changes(plan: Plan, fit: Fit, short: Mapping[str, int], now: Memory, reserve: MemorySettings) -> str:
    """The changes, each of which would make it fit; `short` are the missing bytes by device."""
    spec, ways = plan.spec, []
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
    for device, lacking in short.items():
        where = "free" if plan.needed[device] + kept[device] < totals[device] else "in the machine"
        more.append(f"{exact_size(lacking)} more {names.get(device, RAM)} {where}")
    ways.append(f"with {' and '.join(more)}")
    # Unified memory is missing once, on the device and in RAM.
    largest = plan.need.weights - (max if any(each.unified for each in now.devices) else sum)(short.values())
    file = f"a model file of at most {exact_size(largest)}" if largest > 0 else "a much smaller model file"
    ways.append(f"with {file} (`charlie models use {spec.role} FILE`)")
    return f"It would fit {', '.join(ways[:-1])}, or {ways[-1]}."
