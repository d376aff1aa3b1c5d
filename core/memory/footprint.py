"""The memory of a loaded model, in bytes, computed from its header; core.llama.simulate asks llama.cpp instead.

states/memory_plan.py decides whether it fits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from core.memory.types import Device
from core.model_files.layers import Layer, family_of
from core.model_files.spec import ModelSpec
from core.roles import Role

RAM = "RAM"
MAX_UBATCH = 512
MAX_OUTPUTS = 8
"""Tokens of an instruct model's batch whose logits are kept, to verify those that were proposed."""
F32, F16 = 4, 2
KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes of one value; block_q8_0 and block_q4_0 of ggml-common.h hold 32 values each."""
CONTEXT_STEP = 256
"""llama.cpp rounds a context up to a multiple of this (llama-context.cpp)."""
BYTES_PER_CELL = 52
"""Bookkeeping of llama.cpp for each token of the KV cache. Measured."""
MAX_SEQUENCES = 256
"""Texts in one batch of an encoder; llama.h, llama_max_parallel_sequences."""
OVERHEAD = 5 * 1024**2
"""A load's memory outside its buffers: graph, scheduler, threads. Measured by tests/benchmarks/accuracy.py."""
BYTES_PER_TOKEN = {"gpt2": 300}
"""One token of the vocabulary by tokenizer, where it is not `BYTES_PER_PLAIN_TOKEN`; this one has merges. Measured."""
BYTES_PER_PLAIN_TOKEN = 100
"""One token of the vocabulary: its text, twice, and its candidate in sampling. Measured."""
BYTES_PER_NODE = 900
"""One node of a graph, in all of its copies. Measured."""
LEAST_CHECKPOINTS, MOST_CHECKPOINTS, CHECKPOINT_BYTES = 2, 4, 256 * 1024**2
"""Checkpoints kept, whatever their size and at most; the bytes of all if they are more than the least."""


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

    Compute, with flash attention (llama.cpp, llm_graph_context::build_attn): the attention mask, ubatch · context f16,
    and the activations that exist at the same time, f32: four of the model's width and three of the feed-forward's
    (encoders: three and one); mean pooling needs a matrix of tokens · sequences. An encoder outputs logits and
    embeddings of all its tokens (llama_context::output_reserve), and a decoder in its place computes these logits.
    """
    header = spec.header
    encoder = spec.role is not Role.INSTRUCT
    context, ubatch = _rounded(spec.context_length), _ubatch(spec)
    forward = header.feed_forward * max(1, header.experts_used)
    widths = header.embedding_length * (3 if encoder else 4) + forward * (1 if encoder else 3)
    widths += 2 * header.per_layer_embedding
    widths += min(MAX_SEQUENCES, ubatch) if spec.pooling == "mean" else 0
    widths += header.vocab_size if encoder and not header.is_encoder else 0
    logits = header.vocab_size * F32
    outputs = context * (logits + header.embedding_length * F32) if encoder else MAX_OUTPUTS * logits
    activations = ubatch * (widths * F32 + context * F16)
    memory = [layer_memory(spec, layer, context) for layer in header.memory]
    split = split_layers(header.layers, spec.gpu_layers, offloads)
    devices = dict.fromkeys(split, activations)
    copied = header.copied_bytes(offloaded=False)
    for each, layers in split.items():
        for layer in layers:
            if layer < len(header.memory):
                devices[each] += header.layer_bytes[layer] if layer < len(header.layer_bytes) else 0
                devices[each] += memory[layer]
            elif layer == header.layers:
                copied = header.copied_bytes(offloaded=True)
                devices[each] += header.output_bytes + copied
    checkpoint = sum(checkpoint_bytes(spec, layer, context) for layer in header.memory)
    return Footprint(
        weights=header.tensor_bytes - header.draft_bytes + copied,
        kv_cache=sum(memory),
        compute=activations * (1 + len(split)) + outputs,
        overhead=overhead(spec) + (0 if encoder else checkpoint * kept_for(checkpoint)),
        devices=devices,
    )


def layer_memory(spec: ModelSpec, layer: Layer, context: int) -> int:
    """Bytes of one layer's KV cache and recurrent state; encoders have none.

    A sliding window needs the cells of one more batch, rounded up (llama-kv-cache-iswa.cpp).
    """
    if spec.header.is_encoder:
        return 0
    cells = (
        min(context, _rounded(spec.header.window + _ubatch(spec))) if layer.windowed and spec.header.window else context
    )
    return round(layer.values * cells * KV_BYTES[spec.kv_type]) + layer.state * F32


def checkpoint_bytes(spec: ModelSpec, layer: Layer, context: int) -> int:
    """Bytes of one layer in a checkpoint: what cannot be cut."""
    windowed = layer.windowed and 0 < spec.header.window < context
    return layer.state * F32 + round(layer.values * spec.header.window * KV_BYTES[spec.kv_type] * windowed)


def kept_for(size: int) -> int:
    """How many checkpoints of `size` bytes are kept."""
    return max(LEAST_CHECKPOINTS, min(MOST_CHECKPOINTS, CHECKPOINT_BYTES // max(1, size)))


def overhead(spec: ModelSpec) -> int:
    """A load's memory outside its buffers, without checkpoints."""
    header = spec.header
    cells = 0 if header.is_encoder else spec.context_length * BYTES_PER_CELL
    tokens = header.vocab_size * BYTES_PER_TOKEN.get(header.tokenizer, BYTES_PER_PLAIN_TOKEN)
    return OVERHEAD + tokens + cells + family_of(header.architecture).nodes * _ubatch(spec) * BYTES_PER_NODE


def _ubatch(spec: ModelSpec) -> int:
    """Tokens that are computed at once; an encoder attends to its whole text."""
    context = _rounded(spec.context_length)
    return min(spec.batch, MAX_UBATCH, context) if spec.role is Role.INSTRUCT else context


def _rounded(tokens: int) -> int:
    return -(-tokens // CONTEXT_STEP) * CONTEXT_STEP


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
