"""Jina's BERT: a gate in the feed-forward net, and distances in place of positions."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.architectures.encoders.bge_reranker import add_layers
from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4)
REAL = Size(12, 768, 12, 12, 64, 3072, context=8192, vocabulary=61_056)


def write(path: Path, size: Size = SMALL) -> Path:
    return add_layers(RandomFile(path, "jina-bert-v2", size, pooling_type=int(gguf.PoolingType.MEAN)), gate=True)
