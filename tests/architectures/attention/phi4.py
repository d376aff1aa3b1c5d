"""Phi-4: one matrix for query, key and value, and one for gate and up."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=2)
REAL = Size(40, 5120, 40, 10, 128, 17_920, context=16_384, vocabulary=100_352)


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "phi3", size)
    file.heads()
    for layer in range(file.layers):
        name = f"blk.{layer}"
        file.norms(layer, "attn_norm", "ffn_norm")
        file.matrix(f"{name}.attn_qkv.weight", size.width + 2 * size.kv_heads * size.head, size.width)
        file.matrix(f"{name}.attn_output.weight", size.width, size.width)
        file.matrix(f"{name}.ffn_up.weight", 2 * size.feed_forward, size.width)
        file.matrix(f"{name}.ffn_down.weight", size.width, size.feed_forward)
    return file.close()
