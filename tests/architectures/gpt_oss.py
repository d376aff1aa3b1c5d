"""gpt-oss: a sliding window in every second layer, attention sinks, and experts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.architectures.random_file import FEED_FORWARD, HEAD_DIM, HEADS, KV_HEADS, TEMPLATE, WIDTH, RandomFile

WINDOW, EXPERTS = 32, 4


def write(path: Path, chain: Sequence[str] = (), template: str = TEMPLATE) -> Path:
    file = RandomFile(path, "gpt-oss", layers=4, chain=chain)
    file.heads()
    file.writer.add_sliding_window(WINDOW)
    file.writer.add_expert_count(EXPERTS)
    # All of them: a choice among experts would turn a rounding error into other experts.
    file.writer.add_expert_used_count(EXPERTS)
    file.writer.add_expert_feed_forward_length(FEED_FORWARD)
    for layer in range(file.layers):
        name = f"blk.{layer}"
        file.vector(f"{name}.attn_norm.weight")
        file.vector(f"{name}.post_attention_norm.weight")
        file.attention(layer, norms=False)
        for part, length in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            file.vector(f"{name}.attn_{part}.bias", length * HEAD_DIM, 0)
        file.vector(f"{name}.attn_output.bias", WIDTH, 0)
        file.vector(f"{name}.attn_sinks.weight", HEADS, 0)
        file.array(f"{name}.ffn_gate_inp.weight", file.random((EXPERTS, WIDTH)))
        file.vector(f"{name}.ffn_gate_inp.bias", EXPERTS, 0)
        for part, rows, columns in (
            ("gate", FEED_FORWARD, WIDTH),
            ("up", FEED_FORWARD, WIDTH),
            ("down", WIDTH, FEED_FORWARD),
        ):
            file.matrix(f"{name}.ffn_{part}_exps.weight", EXPERTS, rows, columns)
            file.array(f"{name}.ffn_{part}_exps.bias", [[0.0] * rows] * EXPERTS)
    file.close(template=template)
    return path
