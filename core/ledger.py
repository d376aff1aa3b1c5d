"""Predicted beside actual: what models took when they were loaded, to correct what is predicted of them later."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from core.footprint import RAM, Footprint

if TYPE_CHECKING:
    from core.database import RedisClient
    from core.model_files import ModelSpec

Stamp = tuple[int, int]
"""A file's time and bytes."""
LEDGER = "charlie:footprints"
MOST = 2.0
"""A correction makes a prediction at most this many times as large."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes predicted of a model with its settings, and the most that it was seen to take, by device."""

    model: str
    predicted: dict[str, int]
    actual: dict[str, int]

    def missing(self, device: str) -> int:
        """By how much a device was predicted too low. A short use takes less than a long one, so never below 0."""
        predicted = self.predicted.get(device, 0)
        return min(max(0, self.actual.get(device, 0) - predicted), round(predicted * (MOST - 1)))


class Ledger:
    """One entry for each file, its state, its settings, and the version of llama.cpp.

    The worker is their only writer, so what was read once is kept: a swap asks six times.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._known: dict[str, Measured | None] = {}

    def find(self, spec: ModelSpec, stamp: Stamp) -> Measured | None:
        key = _key(spec, stamp)
        if key not in self._known:
            found = self._redis.hget(LEDGER, key)
            self._known[key] = Measured(**json.loads(found)) if found else None
        return self._known[key]

    def record(self, spec: ModelSpec, stamp: Stamp, predicted: dict[str, int], actual: dict[str, int]) -> None:
        """Keep the most that was seen; `predicted` is the uncorrected prediction."""
        known = self.find(spec, stamp)
        before = known.actual if known and known.predicted == predicted else {}
        most = {device: max(size, before.get(device, 0)) for device, size in actual.items()}
        measured = Measured(spec.name, predicted, most)
        if measured == known:
            return
        self._redis.hset(LEDGER, _key(spec, stamp), json.dumps(asdict(measured)))
        self._known[_key(spec, stamp)] = measured

    def correct(self, spec: ModelSpec, stamp: Stamp, predicted: Footprint) -> Footprint:
        """The prediction as earlier loads of the same model with the same settings have it."""
        known = self.find(spec, stamp)
        if known is None:
            return predicted
        devices = {device: size + known.missing(device) for device, size in predicted.devices.items()}
        extra = known.missing(RAM) + sum(devices.values()) - predicted.vram
        return replace(predicted, overhead=predicted.overhead + extra, devices=devices)


@cache
def _llama_cpp() -> str:
    return version("llama-cpp-python")


def _key(spec: ModelSpec, stamp: Stamp) -> str:
    parts = (
        str(spec.path), *stamp, spec.role, spec.context_length, spec.gpu_layers, spec.batch,
        spec.kv_type, spec.mmap, spec.pooling, _llama_cpp(),
    )  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
