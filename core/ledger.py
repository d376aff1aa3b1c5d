"""Predicted beside actual: what models took when they were loaded, to correct what is predicted of them later."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.database import RedisClient
    from core.footprint import Footprint
    from core.model_files import ModelSpec

LEDGER = "charlie:footprints"
LEAST, MOST = 0.9, 2.0
"""A correction stays between these: what a short use has not touched may be touched later."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes predicted of a model with its settings, and the most that it was seen to take."""

    model: str
    predicted: int
    actual: int

    @property
    def factor(self) -> float:
        return min(max(self.actual / self.predicted, LEAST), MOST) if self.predicted else 1.0


class Ledger:
    """One entry for each file, its state, its settings, and the version of llama.cpp."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    def find(self, spec: ModelSpec) -> Measured | None:
        found = self._redis.hget(LEDGER, _key(spec))
        return Measured(**json.loads(found)) if found else None

    def record(self, spec: ModelSpec, predicted: int, actual: int) -> None:
        """Keep the most that was seen; `predicted` is the uncorrected prediction."""
        known = self.find(spec)
        most = max(actual, known.actual) if known and known.predicted == predicted else actual
        self._redis.hset(LEDGER, _key(spec), json.dumps(asdict(Measured(spec.name, predicted, most))))

    def correct(self, spec: ModelSpec, predicted: Footprint) -> Footprint:
        """The prediction as earlier loads of the same model with the same settings have it."""
        known = self.find(spec)
        if known is None:
            return predicted
        return replace(predicted, overhead=predicted.overhead + round(predicted.total * (known.factor - 1)))


def _key(spec: ModelSpec) -> str:
    stat = spec.path.stat()
    parts = (
        str(spec.path), stat.st_mtime_ns, stat.st_size, spec.role, spec.context_length, spec.gpu_layers, spec.batch,
        spec.kv_type, spec.mmap, version("llama-cpp-python"),
    )  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
