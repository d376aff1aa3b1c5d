"""EmbeddingGemma: Gemma 3's layers, in which each token attends to those after it, too."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.architectures.sized_file import RandomFile, Size
from tests.architectures.windowed.gemma3 import add_layers

SMALL = Size(layers=6, window=48)
REAL = Size(24, 768, 3, 1, 256, 1152, window=512, context=2048, vocabulary=262_144, tied=True)


def write(path: Path, size: Size = SMALL) -> Path:
    return add_layers(RandomFile(path, "gemma-embedding", size, pooling_type=int(gguf.PoolingType.MEAN)), output=False)
