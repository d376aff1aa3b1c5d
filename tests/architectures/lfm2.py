"""LFM2: short convolutions, and attention in every second layer."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.random_file import KV_HEADS, WIDTH, RandomFile

CONVOLUTION = 4


def write(path: Path) -> Path:
    file = RandomFile(path, "lfm2", layers=4)
    file.heads([KV_HEADS * (layer % 2) for layer in range(file.layers)])
    file.writer.add_shortconv_l_cache(CONVOLUTION)
    for layer in range(file.layers):
        name = f"blk.{layer}"
        file.vector(f"{name}.attn_norm.weight")
        if layer % 2:
            file.attention(layer)
        else:
            file.array(f"{name}.shortconv.conv.weight", [[1 / CONVOLUTION] * CONVOLUTION] * WIDTH)
            file.matrix(f"{name}.shortconv.in_proj.weight", 3 * WIDTH, WIDTH)
            file.matrix(f"{name}.shortconv.out_proj.weight", WIDTH, WIDTH)
        file.vector(f"{name}.ffn_norm.weight")
        file.feed_forward(layer)
    file.close("token_embd_norm.weight")
    return path
