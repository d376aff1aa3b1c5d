"""Qwen3's embedding model: a decoder whose last token stands for the text."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=2)
REAL = Size(28, 1024, 16, 8, 128, 3072, context=32_768, vocabulary=151_669, tied=True)


def write(path: Path, size: Size = SMALL, pooling: gguf.PoolingType = gguf.PoolingType.LAST) -> Path:
    file = RandomFile(path, "qwen3", size, pooling_type=int(pooling))
    file.heads()
    for layer in range(file.layers):
        file.norms(layer, "attn_norm", "ffn_norm")
        file.attention(layer)
        file.feed_forward(layer)
    if pooling is gguf.PoolingType.RANK:
        file.writer.add_classifier_output_labels(["yes", "no"])
        file.matrix("cls.output.weight", 2, size.width)
    return file.close(output=False)
