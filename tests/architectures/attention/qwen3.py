"""Qwen3: attention in every layer."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=2)
REAL = Size(36, 4096, 32, 8, 128, 12_288, context=40_960, vocabulary=151_936)


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "qwen3", size)
    file.heads()
    for layer in range(file.layers):
        file.norms(layer, "attn_norm", "ffn_norm")
        file.attention(layer)
        file.feed_forward(layer)
    return file.close()
