"""The memory of a loaded model, in bytes, computed from its header; core.llama.simulate asks llama.cpp instead.

states/memory_plan.py decides whether it fits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from core.roles import Role

if TYPE_CHECKING:
    from core.memory.types import Device
    from core.model_files.spec import ModelSpec

RAM = "RAM"
MAX_UBATCH = 512
F32, F16 = 4, 2
KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes of one value; block_q8_0 and block_q4_0 of ggml-common.h hold 32 values each."""
CONTEXT_STEP = 256
"""llama.cpp rounds a context up to a multiple of this (llama-context.cpp)."""
BYTES_PER_CELL = 52
"""Bookkeeping of llama.cpp for each token of the KV cache. Measured."""
MAX_SEQUENCES = 256
"""Texts in one batch of an encoder; llama.h, llama_max_parallel_sequences."""
OVERHEAD = 3 * 1024**2
"""A load's memory outside its buffers: graph, scheduler, threads. Measured by tests/benchmarks/accuracy.py."""
BYTES_PER_TOKEN = 100
"""One token of the vocabulary: its text, twice, and its candidate in sampling. Measured."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """A model's memory by part and by device."""

    weights: int
    kv_cache: int
    compute: int
    overhead: int
    devices: Mapping[str, int] = field(default_factory=dict)
    """The part of the total that is on each accelerator."""

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.compute + self.overhead

    @property
    def ram(self) -> int:
        return self.total - self.vram

    @property
    def vram(self) -> int:
        return sum(self.devices.values())


def estimate(spec: ModelSpec, offloads: Sequence[Device] = ()) -> Footprint:
    """Compute the footprint of a spec whose last `gpu_layers` layers are on the accelerators.

    KV cache: Σ kv_heads · (head_dim_k + head_dim_v) · context · bytes(type); encoders have none. Compute, with flash
    attention (llama.cpp, llm_graph_context::build_attn): the attention mask, ubatch · context f16, and the
    activations that exist at the same time, f32: four of the model's width and three of the feed-forward's (encoders:
    three and one); mean pooling needs a matrix of tokens · sequences. An encoder outputs logits and embeddings of all
    its tokens (llama_context::output_reserve).
    """
    header = spec.header
    encoder = spec.role is not Role.INSTRUCT
    context = -(-spec.context_length // CONTEXT_STEP) * CONTEXT_STEP
    ubatch = context if encoder else min(spec.batch, MAX_UBATCH, context)
    forward = header.feed_forward * max(1, header.experts_used)
    widths = header.embedding_length * (3 if encoder else 4) + forward * (1 if encoder else 3)
    widths += min(MAX_SEQUENCES, ubatch) if spec.pooling == "mean" else 0
    outputs = context * (header.vocab_size + header.embedding_length) * F32 if encoder else header.vocab_size * F32
    activations = ubatch * (widths * F32 + context * F16)
    head_dims = header.head_dim_key + header.head_dim_value
    kv_cache = 0 if header.is_encoder else round(header.kv_heads_total * head_dims * context * KV_BYTES[spec.kv_type])
    split = split_layers(header.layers, spec.gpu_layers, offloads)
    devices = dict.fromkeys(split, activations)
    doubled = 0
    for each, layers in split.items():
        for layer in layers:
            if layer < header.layers:
                devices[each] += header.layer_bytes[layer] if layer < len(header.layer_bytes) else 0
                devices[each] += kv_cache // header.layers
            else:
                doubled = header.tied_bytes
                devices[each] += header.output_bytes + doubled
    return Footprint(
        weights=header.tensor_bytes + doubled,
        kv_cache=kv_cache,
        compute=activations * (1 + len(split)) + outputs,
        overhead=overhead(spec),
        devices=devices,
    )


def overhead(spec: ModelSpec) -> int:
    """A load's memory outside its buffers."""
    cells = 0 if spec.header.is_encoder else spec.context_length * BYTES_PER_CELL
    return OVERHEAD + spec.header.vocab_size * BYTES_PER_TOKEN + cells


def split_layers(layers: int, gpu_layers: int, offloads: Sequence[Device]) -> dict[str, list[int]]:
    """The layers of each device. The last ones are offloaded; the output counts as one more layer after them.

    Devices get layers in proportion to their free bytes, as in llama.cpp (llama-model.cpp, load_tensors).
    """
    moved = range(max(0, layers + 1 - gpu_layers), layers + 1)
    free = sum(each.free for each in offloads)
    if not moved or not free:
        return {}
    split: dict[str, list[int]] = {}
    shares = list(accumulate(each.free / free for each in offloads))
    for place, layer in enumerate(moved):
        device = offloads[bisect_right(shares, place / len(moved))]
        split.setdefault(device.id, []).append(layer)
    return split
