"""Qwen3's embedding model: a decoder whose last token stands for the text."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.architectures.sized_file import RandomFile, Size, Words

SMALL = Size(layers=2)
REAL = Size(28, 1024, 16, 8, 128, 3072, context=32_768, vocabulary=151_669, tied=True)
WORDS = Words("", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"))


def write(
    path: Path, size: Size = SMALL, *, name: str = "Qwen3 Embedding 0.6B", pooling: gguf.PoolingType | None = None
) -> Path:
    """Without the end token in its header, and perhaps without the pooling, as the first published files."""
    file = begun(path, size)
    file.writer.add_string(gguf.Keys.General.BASENAME, name)
    if pooling is not None:
        file.writer.add_pooling_type(pooling)
    return file.close(output=False)


def begun(path: Path, size: Size) -> RandomFile:
    file = RandomFile(path, "qwen3", size, WORDS)
    file.heads()
    for layer in range(file.layers):
        file.norms(layer, "attn_norm", "ffn_norm")
        file.attention(layer)
        file.feed_forward(layer)
    return file
