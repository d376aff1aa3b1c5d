"""Falcon H1: attention and Mamba 2's state side by side in every layer."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=2)
REAL = Size(44, 3072, 12, 2, 128, 12_288, inner=3072, state=256, rank=24, context=262_144, vocabulary=130_048)


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "falcon-h1", size)
    file.heads()
    file.state_keys()
    for layer in range(file.layers):
        file.norms(layer, "attn_norm")
        file.vector(f"blk.{layer}.ffn_norm")
        file.attention(layer, norms=False)
        file.mamba2_state(layer)
        file.feed_forward(layer)
    return file.close()
