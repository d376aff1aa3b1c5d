"""What a loaded model takes, in bytes, computed from its header alone. Loads nothing; see core.simulation for more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.settings import Role

if TYPE_CHECKING:
    from core.model_files import ModelSpec

RAM = "RAM"
MAX_UBATCH = 512
F32, F16 = 4, 2
KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes of one value; ggml-common.h, block_q8_0 and block_q4_0 hold 32 values each."""
CONTEXT_STEP = 256
"""llama.cpp rounds a context up to a multiple of this (llama-context.cpp)."""
PER_CELL = 52
"""Bytes that llama.cpp keeps beside the values of each token of the KV cache. Measured."""
SEQUENCES = 256
"""How many texts an encoder can take at once; llama.h, llama_max_parallel_sequences."""
OVERHEAD = 3 * 1024**2
"""What a load takes beside its buffers: the graph, the scheduler, threads. Measured, tests/benchmarks/accuracy.py."""
PER_TOKEN = 100
"""Bytes that one token of the vocabulary takes: its text, twice, and its candidate in sampling. Measured."""


@dataclass(frozen=True, slots=True)
class Offload:
    """An accelerator that layers can go to: its name in llama.cpp, and the bytes free there."""

    id: str
    free: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a model takes, by part, and by device."""

    weights: int
    kv_cache: int
    compute: int
    overhead: int
    devices: Mapping[str, int] = field(default_factory=dict)
    """Of the total, what is on each accelerator."""

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.compute + self.overhead

    @property
    def ram(self) -> int:
        return self.total - self.vram

    @property
    def vram(self) -> int:
        return sum(self.devices.values())


def estimate(spec: ModelSpec, offloads: Sequence[Offload] = ()) -> Footprint:
    """Compute the footprint of a spec, with `spec.gpu_layers` of it on the accelerators.

    KV cache: Σ kv_heads · (head_dim_k + head_dim_v) · context · bytes(type); encoders have none. Compute, with flash
    attention (llama.cpp, llm_graph_context::build_attn): the attention mask, ubatch · context f16, and the
    activations that live at once, f32: four of the model's width and three of the feed-forward's, of an encoder
    three and one; a mean is a matrix of tokens · sequences. An encoder puts out logits and embeddings of all its
    tokens (llama_context::output_reserve).
    """
    header = spec.header
    whole = spec.role is not Role.INSTRUCT
    context = -(-spec.context_length // CONTEXT_STEP) * CONTEXT_STEP
    ubatch = context if whole else min(spec.batch, MAX_UBATCH, context)
    forward = header.feed_forward * max(1, header.experts_used)
    widths = header.embedding_length * (3 if whole else 4) + forward * (1 if whole else 3)
    widths += min(SEQUENCES, ubatch) if spec.pooling == "mean" else 0
    outputs = context * (header.vocab_size + header.embedding_length) * F32 if whole else header.vocab_size * F32
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
    """What a load takes beside its buffers."""
    cells = 0 if spec.header.is_encoder else spec.context_length * PER_CELL
    return OVERHEAD + spec.header.vocab_size * PER_TOKEN + cells


def split_layers(layers: int, gpu_layers: int, offloads: Sequence[Offload]) -> dict[str, list[int]]:
    """Which layers go where; the last ones are offloaded, and the output counts as one more, behind them.

    Devices share by their free bytes, as llama.cpp has it (llama-model.cpp, load_tensors).
    """
    first = max(0, layers + 1 - gpu_layers)
    moved = list(range(first, layers + 1))
    free = sum(each.free for each in offloads)
    if not moved or not free:
        return {}
    split: dict[str, list[int]] = {}
    for place, layer in enumerate(moved):
        share, reached = place / len(moved), 0.0
        for each in offloads:
            reached += each.free / free
            if share < reached:
                split.setdefault(each.id, []).append(layer)
                break
    return split
