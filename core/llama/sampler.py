"""llama.cpp's samplers in a chain, by the sampling settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.llama.calls import Llama, llama_cpp
from core.settings import Sampling

REPEAT_LAST = 64
"""The number of last tokens that the repeat penalty considers."""


@contextmanager
def sampler(llama: Llama, sampling: Sampling) -> Iterator[Any]:
    """A llama_sampler chain in llama.cpp's own order: penalty, top-k, top-p, min-p, temperature, draw."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    try:
        for link in _links(llama, sampling):
            llama_cpp.llama_sampler_chain_add(chain, link)
        yield chain
    finally:
        llama_cpp.llama_sampler_free(chain)


def _links(llama: Llama, sampling: Sampling) -> Iterator[Any]:
    if sampling.repeat_penalty != 1.0:
        yield llama_cpp.llama_sampler_init_penalties(llama.n_vocab(), REPEAT_LAST, sampling.repeat_penalty, 0.0, 0.0)
    if sampling.temperature == 0:
        yield llama_cpp.llama_sampler_init_greedy()
        return
    yield llama_cpp.llama_sampler_init_top_k(sampling.top_k)
    yield llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1)
    yield llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1)
    yield llama_cpp.llama_sampler_init_temp(sampling.temperature)
    yield llama_cpp.llama_sampler_init_dist(llama_cpp.LLAMA_DEFAULT_SEED if sampling.seed == -1 else sampling.seed)
