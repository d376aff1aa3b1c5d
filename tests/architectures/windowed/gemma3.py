"""Gemma 3: five layers with a sliding window, then one without."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=6, window=48)
REAL = Size(48, 3840, 16, 8, 256, 15_360, window=1024, context=131_072, vocabulary=262_208, tied=True)


def write(path: Path, size: Size = SMALL) -> Path:
    return add_layers(RandomFile(path, "gemma3", size))


def add_layers(file: RandomFile, *, output: bool = True) -> Path:
    file.heads()
    file.keys(attention__sliding_window=file.size.window)
    for layer in range(file.layers):
        file.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        file.attention(layer)
        file.feed_forward(layer)
    return file.close(output=output)
