"""Qwen3.5: gated delta nets in three layers of four, attention in the fourth; layers that only draft tokens."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4, groups=2, inner=64)
REAL = Size(
    32, 4096, 16, 4, 256, 12_288, inner=4096, state=128, rank=32, groups=16, context=262_144, vocabulary=248_320
)  # fmt: skip
INTERVAL = 4


def write(path: Path, size: Size = SMALL, *, drafts: int = 0) -> Path:
    return add_layers(RandomFile(path, "qwen35", size), drafts)


def add_layers(file: RandomFile, drafts: int = 0, *, experts: bool = False, joined: bool = False) -> Path:
    size = file.size
    file.heads()
    file.state_keys()
    file.keys(full_attention_interval=INTERVAL, rope__dimension_sections=[size.head // 2, 0, 0, 0])
    if experts:
        file.expert_keys(shared=True)
    if drafts:
        file.keys(block_count=size.layers + drafts, nextn_predict_layers=drafts)
    for layer in range(file.layers + drafts):
        file.norms(layer, "attn_norm", "post_attention_norm")
        if (layer + 1) % INTERVAL == 0 or layer >= file.layers:
            file.attention(layer, query_parts=2)
        else:
            file.delta_net(layer, joined=joined)
        if experts:
            file.vector(f"blk.{layer}.ffn_gate_inp_shexp.weight")
            file.expert_layer(layer, shared=True)
        else:
            file.feed_forward(layer)
        if layer >= file.layers:
            file.norms(layer, "nextn.enorm", "nextn.hnorm")
            file.matrix(f"blk.{layer}.nextn.eh_proj.weight", size.width, 2 * size.width)
    return file.close()
