"""Qwen3's mixture of experts."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=2)
REAL = Size(48, 2048, 32, 4, 128, 768, experts=128, used=8, context=40_960, vocabulary=151_936)


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "qwen3moe", size)
    file.heads()
    file.expert_keys()
    for layer in range(file.layers):
        file.norms(layer, "attn_norm", "ffn_norm")
        file.attention(layer)
        file.expert_layer(layer)
    return file.close()
