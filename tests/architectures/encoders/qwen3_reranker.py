"""Qwen3's reranker: a decoder that says yes or no."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.architectures.encoders import qwen3_embedding
from tests.architectures.sized_file import Size

SMALL, REAL = qwen3_embedding.SMALL, qwen3_embedding.REAL


def write(path: Path, size: Size = SMALL) -> Path:
    return qwen3_embedding.write(path, size, gguf.PoolingType.RANK)
