"""Nomic's BERT with experts in every second layer."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.architectures.encoders.bge_reranker import add_layers
from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4)
REAL = Size(12, 768, 12, 12, 64, 3072, experts=8, used=2, context=2048, vocabulary=250_048)


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "nomic-bert-moe", size, pooling_type=int(gguf.PoolingType.MEAN), moe_every_n_layers=2)
    file.keys(expert_count=size.experts, expert_used_count=size.used)
    return add_layers(file, experts=2)
