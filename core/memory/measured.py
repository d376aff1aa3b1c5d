"""Measured memory of past loads, used to correct later estimates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version

from core.database import RedisClient, keys
from core.memory.footprint import RAM, Footprint
from core.model_files.spec import ModelSpec
from core.model_files.trial import try_out

MAX_CORRECTION = 2.0
"""A corrected estimate is at most this many times the estimate."""
_llama_cpp = cache(lambda: version("llama-cpp-python"))


@dataclass(frozen=True, slots=True)
class Measured:
    """Memory of one model with its settings, in bytes by device: as estimated, and the largest measured."""

    model: str
    predicted: dict[str, int]
    actual: dict[str, int]

    def missing(self, device: str) -> int:
        """Bytes by which the estimate of a device was too low; never below 0, since a short use takes less."""
        predicted = self.predicted.get(device, 0)
        return min(max(0, self.actual.get(device, 0) - predicted), round(predicted * (MAX_CORRECTION - 1)))


class MeasuredLoads:
    """One record for each version of a file, its settings and the version of llama.cpp.

    Records are cached, since the worker alone writes them and reads six of them for each swap.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._cache: dict[str, Measured | None] = {}

    def find(self, spec: ModelSpec) -> Measured | None:
        key = _key(spec)
        if key not in self._cache:
            found = self._redis.hget(keys.FOOTPRINTS, key)
            self._cache[key] = Measured(**json.loads(found)) if found else None
        return self._cache[key]

    def record(self, spec: ModelSpec, predicted: dict[str, int], actual: dict[str, int]) -> None:
        """Save the largest measurement by device; `predicted` is the uncorrected estimate."""
        known = self.find(spec)
        before = known.actual if known and known.predicted == predicted else {}
        most = {device: max(size, before.get(device, 0)) for device, size in actual.items()}
        measured = Measured(spec.name, predicted, most)
        if measured == known:
            return
        self._redis.hset(keys.FOOTPRINTS, _key(spec), json.dumps(asdict(measured)))
        self._cache[_key(spec)] = measured

    @contextmanager
    def trying(self, spec: ModelSpec) -> Iterator[None]:
        """Around what llama.cpp may end the process in. Where it did so before, another process tries it first.

        Raises LoadFailedError where that one fails.
        """
        if self.find(spec) is not None:  # it has been loaded
            yield
            return
        files = json.dumps(_files(spec))
        if not self._redis.sadd(keys.SIMULATED, files):
            try_out(spec.role, spec.path)
        try:
            yield
        finally:
            self._redis.srem(keys.SIMULATED, files)

    def correct(self, spec: ModelSpec, predicted: Footprint) -> Footprint:
        """The estimate, corrected by earlier loads of the same model with the same settings."""
        known = self.find(spec)
        if known is None:
            return predicted
        devices = {device: size + known.missing(device) for device, size in predicted.devices.items()}
        extra = known.missing(RAM) + sum(devices.values()) - predicted.vram
        return replace(predicted, overhead=predicted.overhead + extra, devices=devices)


def _files(spec: ModelSpec) -> list[tuple[str, int, int]]:
    return [(str(each.path), each.modified, each.bytes) for each in spec.header.files]


def _key(spec: ModelSpec) -> str:
    parts = (
        _files(spec), spec.role,
        spec.context_length, spec.gpu_layers, spec.batch, spec.kv_type, spec.mmap, spec.pooling, _llama_cpp(),
        *(["cpu"] if spec.cpu_only else []),
    )  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
