"""Asks what a model takes and makes the plan of its load; keeps predicted beside actual."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import redis

from core.footprint import RAM, Footprint, Offload, estimate
from core.ledger import Ledger, Measured, Stamp
from core.settings import Role
from core.simulation import simulate
from states.plan import Plan, Warm, make_plan
from states.room import Taken, taken

if TYPE_CHECKING:
    from core.events import Memory
    from core.model_files import ModelSpec
    from core.settings import MemorySettings

log = logging.getLogger(__name__)

LEAST_BATCH = 64


class Planner:
    """Makes plans from llama.cpp's own simulation, corrected by what earlier loads took."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def plan(self, spec: ModelSpec, reserve: MemorySettings, now: Memory, warm: Warm | None = None) -> Plan:
        """What loading a spec would need and do, with the memory as it is now."""
        return make_plan(spec, lambda each: self._measure(each, now), now, reserve, warm)

    def measured(self, spec: ModelSpec) -> Measured | None:
        return self._ledger.find(spec, stamp_of(spec))

    def record(self, spec: ModelSpec, stamp: Stamp, predicted: Footprint, took: Taken) -> None:
        """Keep what a loaded model has taken by now. That it cannot be kept is no reason to stop."""
        # The file's pages of weights that were copied, for the CPU or to a device, are no longer used.
        mapped = min(took.mapped, max(0, predicted.ram - took.own))
        actual = {RAM: took.own + mapped, **took.devices}
        try:
            self._ledger.record(spec, stamp, {RAM: predicted.ram, **predicted.devices}, actual)
        except redis.RedisError:
            log.exception("What %s took could not be kept.", spec.name)

    def _measure(self, spec: ModelSpec, now: Memory) -> Footprint:
        predicted = predict(spec, now)
        try:
            return self._ledger.correct(spec, stamp_of(spec), predicted)
        except redis.RedisError:
            log.exception("What %s took before could not be read.", spec.name)
            return predicted


def predict(spec: ModelSpec, now: Memory) -> Footprint:
    """The footprint of a spec: llama.cpp's own where it can say, else computed from the header."""
    offloads = tuple(Offload(each.id, each.free) for each in now.devices)
    return _predict(spec, stamp_of(spec), offloads if spec.gpu_layers else ())


@lru_cache(maxsize=512)
def _predict(spec: ModelSpec, _: Stamp, offloads: tuple[Offload, ...]) -> Footprint:
    try:
        return simulate(spec)
    except (ValueError, RuntimeError, OSError, AssertionError, MemoryError):
        # A file that llama.cpp refuses is refused again, in words, when it is loaded.
        log.info("llama.cpp cannot simulate %s; its footprint is computed.", spec.name)
        return estimate(spec, offloads)


def smaller(wanted: ModelSpec, tried: ModelSpec) -> ModelSpec | None:
    """What to try after memory ran out: half the context and three quarters of the layers, where they may be chosen.

    A smaller batch always may. None when there is nothing left to take away.
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


def given_back(spec: ModelSpec, before: Memory, now: Memory) -> Warm:
    """What unloading a model makes free: its own RAM, for mapped weights count as free already, and its VRAM."""
    took = taken(before, now)
    return Warm(spec.role, took.own, took.devices)


def stamp_of(spec: ModelSpec) -> Stamp:
    try:
        stat = spec.path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size
