"""Gemma 3: five layers with a sliding window, then one without."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.random_file import RandomFile

WINDOW = 48


def write(path: Path, window: int = WINDOW) -> Path:
    file = RandomFile(path, "gemma3", layers=6)
    file.heads()
    file.writer.add_sliding_window(window)
    for layer in range(file.layers):
        for norm in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            file.vector(f"blk.{layer}.{norm}.weight")
        file.attention(layer)
        file.feed_forward(layer)
    file.close()
    return path
