"""What a machine is offered, from its memory and its rates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.offers import best, find_offers
from core.memory.types import Device, Memory
from core.model_files.catalogue import PACKAGED, read_catalogue
from core.roles import Role
from core.settings import MemorySettings
from tests.rates import made_up_kernels, made_up_rates

GIB = 1024**3
RATES = made_up_rates()
MODELS = read_catalogue(PACKAGED)


@pytest.mark.parametrize(
    ("free", "factor", "vram", "name", "suits"),
    [
        (3, 0.1, 0, "Qwen3.5 0.8B", False),
        (6, 3, 0, "Gemma 4 E2B", True),
        (16, 1, 0, "LFM2 8B-A1B", True),
        (3, 10, 0, "Qwen3.5 2B", True),
        (16, 30, 0, "Qwen3.5 9B", True),
        (3, 1, 12, "Qwen3.5 9B", True),
    ],
    ids=["slow and small", "usual", "slow and large", "quick and small", "quick", "a GPU"],
)
def test_the_largest_that_fits_and_answers_in_time_is_offered(
    free: int, factor: float, vram: int, name: str, suits: bool
) -> None:
    memory = Memory(32 * GIB, free * GIB, 0, (Device("GPU", vram * GIB, vram * GIB, "CUDA0"),) if vram else ())
    rates = replace(RATES, cpu=made_up_kernels(factor), gpu=made_up_kernels(30) if vram else None)
    found = find_offers(MODELS[Role.INSTRUCT], Role.INSTRUCT, memory, MemorySettings(), rates)
    assert (best(found).model.name, best(found).suits) == (name, suits)
    assert best(found).fits
    assert all(each.seconds is not None for each in found)


def test_an_encoder_suits_where_it_fits() -> None:
    small, large = Memory(2 * GIB, GIB * 5 // 4, 0), Memory(8 * GIB, 6 * GIB, 0)
    names = [
        best(find_offers(MODELS[Role.EMBEDDING], Role.EMBEDDING, memory, MemorySettings(), RATES)).model.name
        for memory in (small, large)
    ]
    assert names == ["Nomic Embed 1.5", "Qwen3 Embedding"]


def test_without_rates_nothing_suits_and_something_is_offered() -> None:
    found = find_offers(MODELS[Role.INSTRUCT], Role.INSTRUCT, Memory(1, 1, 0), MemorySettings(), None)
    assert not any(each.suits or each.fits or each.seconds for each in found)
    assert best(found) is found[0]
