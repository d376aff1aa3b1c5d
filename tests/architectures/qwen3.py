"""Qwen3: attention in every layer."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.random_file import RandomFile


def write(path: Path) -> Path:
    file = RandomFile(path, "qwen3", layers=2)
    file.heads()
    for layer in range(file.layers):
        file.vector(f"blk.{layer}.attn_norm.weight")
        file.attention(layer)
        file.vector(f"blk.{layer}.ffn_norm.weight")
        file.feed_forward(layer)
    file.close()
    return path
