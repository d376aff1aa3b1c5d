"""LFM2: short convolutions, and attention in every second layer."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4)
REAL = Size(16, 2048, 32, 8, 64, 8192, convolution=3, context=128_000, vocabulary=65_536, tied=True)


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "lfm2", size, shortconv__l_cache=size.convolution)
    file.heads([size.kv_heads * (layer % 2) for layer in range(size.layers)])
    for layer in range(file.layers):
        name = f"blk.{layer}.shortconv"
        file.norms(layer, "attn_norm", "ffn_norm")
        if layer % 2:
            file.attention(layer)
        else:
            file.array(f"{name}.conv.weight", 1 / size.convolution, size.width, size.convolution)
            file.matrix(f"{name}.in_proj.weight", 3 * size.width, size.width)
            file.matrix(f"{name}.out_proj.weight", size.width, size.width)
        file.feed_forward(layer)
    return file.close("token_embd_norm.weight")
