"""OLMo 2: norms only after the layers, and over all heads at once. OLMo 3 has a sliding window as well."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4)
REAL = Size(32, 4096, 32, 32, 128, 11_008, context=4096, vocabulary=100_352)


def write(path: Path, size: Size = SMALL) -> Path:
    return add_layers(RandomFile(path, "olmo2", size))


def add_layers(file: RandomFile) -> Path:
    size = file.size
    file.heads()
    for layer in range(file.layers):
        file.attention(layer, norms=False)
        file.vector(f"blk.{layer}.attn_q_norm.weight", size.width, 3)
        file.vector(f"blk.{layer}.attn_k_norm.weight", size.kv_heads * size.head)
        file.norms(layer, "post_attention_norm", "post_ffw_norm")
        file.feed_forward(layer)
    return file.close()
