"""Granite 4: Mamba 2's state in three layers of four, attention in the fourth."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.mamba2 import add_state, state
from tests.architectures.random_file import KV_HEADS, RandomFile


def write(path: Path) -> Path:
    file = RandomFile(path, "granitehybrid", layers=4)
    attention = [layer % 4 == 3 for layer in range(file.layers)]
    file.heads([KV_HEADS if attends else 0 for attends in attention])
    add_state(file)
    for layer, attends in enumerate(attention):
        file.vector(f"blk.{layer}.attn_norm.weight")
        if attends:
            file.attention(layer, norms=False)
        else:
            state(file, layer)
        file.vector(f"blk.{layer}.ffn_norm.weight")
        file.feed_forward(layer)
    file.close()
    return path
