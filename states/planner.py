"""Has states/memory_plan.py decide whether a model fits, with its footprint: predicted, corrected by past loads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import redis

from core.errors import OutOfMemoryError
from core.llama.simulate import simulate
from core.memory.footprint import RAM, Footprint, estimate
from core.memory.measured import MeasuredLoads
from core.memory.types import Device, Memory
from core.model_files.spec import ModelSpec
from core.roles import Role
from core.settings import MemorySettings
from states.memory_plan import Plan, WarmModel, make_plan
from states.reclaim import Taken

log = logging.getLogger(__name__)

LEAST_BATCH = 64


class Planner:
    """Plans from llama.cpp's own simulation, corrected by the ledger of past loads."""

    def __init__(self, loads: MeasuredLoads) -> None:
        self.loads = loads

    def plan(
        self,
        spec: ModelSpec,
        reserve: MemorySettings,
        now: Memory,
        warm: Sequence[WarmModel] = (),
        stay: Sequence[WarmModel] = (),
    ) -> Plan:
        """The plan of loading a spec beside the models that `stay`, without those that are `warm` now.

        Raises LoadFailedError.
        """
        return make_plan(spec, lambda each: self._measure(each, now), now, reserve, warm, stay)

    def plan_alone(self, spec: ModelSpec, reserve: MemorySettings, now: Memory, warm: Sequence[WarmModel]) -> Plan:
        """The plan of a spec if nothing else were loaded.

        A file that was never loaded is not simulated: it may be broken, and another one is wanted.
        """
        return make_plan(spec, lambda each: self._measure_known(each, now), now, reserve, warm)

    def record(self, spec: ModelSpec, predicted: Footprint, took: Taken, copied: int) -> None:
        """Record the memory that a loaded model has taken so far. A failure to do so stops nothing.

        `copied` bytes of its weights are outside the file, whose pages of these are no longer used.
        """
        mapped = min(took.mapped, max(0, predicted.weights - copied))
        actual = {RAM: took.own + mapped, **took.devices}
        try:
            self.loads.record(spec, {RAM: predicted.ram, **predicted.devices}, actual)
        except redis.RedisError:
            log.exception("The measured memory of %s could not be recorded.", spec.name)

    def _measure(self, spec: ModelSpec, now: Memory) -> Footprint:
        try:
            with self.loads.trying(spec):
                predicted = predict(spec, now)
            return self.loads.correct(spec, predicted)
        except redis.RedisError:
            log.exception("The measured memory of %s could not be read.", spec.name)
            return predict(spec, now)

    def _measure_known(self, spec: ModelSpec, now: Memory) -> Footprint:
        try:
            known = self.loads.find(spec) is not None
        except redis.RedisError:
            known = False
        return self._measure(spec, now) if known else estimate(spec, now.devices)


def predict(spec: ModelSpec, now: Memory) -> Footprint:
    """The footprint of a spec: simulated by llama.cpp, else computed. Raises LoadFailedError where it is refused."""
    return _predict(spec, now.devices if spec.gpu_layers else ())


@lru_cache(maxsize=512)
def _predict(spec: ModelSpec, offloads: tuple[Device, ...]) -> Footprint:
    try:
        return simulate(spec)
    except OutOfMemoryError:
        log.info("llama.cpp cannot simulate %s; its footprint is computed.", spec.name)
        return estimate(spec, offloads)


def smaller(wanted: ModelSpec, tried: ModelSpec) -> ModelSpec | None:
    """The spec to try after memory ran out; None when nothing is left to reduce.

    Half the context and three quarters of the layers where the settings leave the choice, and a quarter of the batch.
    """
    reduced = replace(
        wanted,
        context_length=max(wanted.least_context, tried.context_length // 2),
        gpu_layers=max(wanted.least_gpu_layers, tried.gpu_layers * 3 // 4),
        batch=max(min(LEAST_BATCH, tried.batch), tried.batch // 4) if wanted.role is Role.INSTRUCT else tried.batch,
    )
    same = (reduced.context_length, reduced.gpu_layers, reduced.batch) == (
        tried.context_length, max(wanted.least_gpu_layers, tried.gpu_layers), tried.batch,
    )  # fmt: skip
    return None if same else reduced
