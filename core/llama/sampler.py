"""llama.cpp's samplers in a chain, by the sampling settings."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.llama.calls import vocab_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llama_cpp import Llama

    from core.settings import Sampling

REPEAT_LAST = 64
"""The number of last tokens that the repeat penalty considers."""
DRY_MULTIPLIER, DRY_BASE, DRY_LENGTH = 0.8, 1.75, 2
"""DRY lowers a token's logit by MULTIPLIER * BASE ** (n - LENGTH) where it would go on with n tokens written before."""
DRY_BREAKERS = ("[", "\n", ":")
"""No repetition goes across these: citations and the beginnings of lines may be the same."""


@contextmanager
def sampler(llama: Llama, sampling: Sampling, *, dry: bool = False) -> Iterator[Any]:
    """A llama_sampler chain in llama.cpp's own order: penalty, DRY, top-k, top-p, min-p, temperature, draw.

    `dry` keeps a small model from writing the same for ever.
    """
    import llama_cpp

    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    try:
        for link in _links(llama, sampling, dry=dry):
            llama_cpp.llama_sampler_chain_add(chain, link)
        yield chain
    finally:
        llama_cpp.llama_sampler_free(chain)


def _links(llama: Llama, sampling: Sampling, *, dry: bool) -> Iterator[Any]:
    import llama_cpp

    if sampling.repeat_penalty != 1.0:
        yield llama_cpp.llama_sampler_init_penalties(llama.n_vocab(), REPEAT_LAST, sampling.repeat_penalty, 0.0, 0.0)
    if dry:
        breakers = (ctypes.c_char_p * len(DRY_BREAKERS))(*map(str.encode, DRY_BREAKERS))
        options = DRY_MULTIPLIER, DRY_BASE, DRY_LENGTH, llama.n_ctx(), breakers, len(DRY_BREAKERS)
        yield llama_cpp.llama_sampler_init_dry(vocab_of(llama), *options)
    if sampling.temperature == 0:
        yield llama_cpp.llama_sampler_init_greedy()
        return
    yield llama_cpp.llama_sampler_init_top_k(sampling.top_k)
    yield llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1)
    yield llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1)
    yield llama_cpp.llama_sampler_init_temp(sampling.temperature)
    yield llama_cpp.llama_sampler_init_dist(llama_cpp.LLAMA_DEFAULT_SEED if sampling.seed == -1 else sampling.seed)
