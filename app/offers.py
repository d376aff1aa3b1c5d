"""The catalogue's models on this machine: the memory that they need and the speed that is predicted for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from core.memory.rates import Rates
from core.memory.speed import Speed, answer_seconds, roughly, suits
from core.memory.types import Memory
from core.model_files.catalogue import CatalogueModel
from core.roles import Role
from core.settings import MemorySettings

BESIDE_WEIGHTS = 1.1, 400 * 1024**2
"""A share of the weights and bytes: KV cache and computation at the default context length, until a header tells."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One model, with what it would be here. Speeds are None until the machine's rates are measured."""

    model: CatalogueModel
    memory: int
    fits: bool
    speed: Speed | None
    suits: bool
    """Whether it fits, and answers a usual prompt within half a minute; an encoder suits where it fits."""

    @property
    def seconds(self) -> float | None:
        """How long it takes to answer, thoughts included."""
        return answer_seconds(self.speed, self.model.thoughts) if self.speed else None


def find_offers(
    models: Iterable[CatalogueModel], role: Role, memory: Memory, reserve: MemorySettings, rates: Rates | None
) -> tuple[Offer, ...]:
    """Some models of a role on a machine with this much free memory; the rates name the devices if it does not."""
    devices = memory.devices or (rates.devices if rates else ())
    vram = max((device.free for device in devices), default=0) - reserve.vram_reserve
    room = max(vram, memory.available - reserve.ram_reserve)
    share, more = BESIDE_WEIGHTS
    found = []
    for model in models:
        needed = int(model.bytes * share) + more
        speed = None
        if rates is not None:
            here = replace(rates, cpu=rates.gpu) if rates.gpu and needed <= vram else rates
            speed = roughly(model.bytes, model.parameters, model.active / model.parameters, model.layers, here)
        quick = role is not Role.INSTRUCT or (speed is not None and suits(speed, model.thoughts))
        found.append(Offer(model, needed, needed <= room, speed, quick and needed <= room))
    return tuple(found)


def best(offers: tuple[Offer, ...]) -> Offer:
    """The largest that suits; else the quickest that fits, or the smallest of all."""
    if suiting := [each for each in offers if each.suits]:
        return suiting[-1]
    fitting = [each for each in offers if each.fits]
    return min(fitting, key=lambda each: each.seconds or 0) if fitting else offers[0]
