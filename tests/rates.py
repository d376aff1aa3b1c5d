"""The speed of a made-up machine: 15 GB/s and 300 GB/s of 16-bit weights, with one token and with many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.memory.rates import FORM, TYPES, Kernels, Rates, machine

if TYPE_CHECKING:
    from core.paths import Paths

ONE, MANY = 1.8e10, 3.6e11
"""Weights a second."""


def made_up_kernels(factor: float) -> Kernels:
    many = dict.fromkeys(TYPES, MANY * factor)
    return {"one": dict.fromkeys(TYPES, ONE * factor), "many": many, "experts": many}


def made_up_rates() -> Rates:
    return Rates(machine(), made_up_kernels(1), None, (), {})


def write_rates(paths: Paths) -> None:
    """Keep the rates as if they had been measured."""
    paths.speed.write_bytes(FORM.dump_json(made_up_rates()))
