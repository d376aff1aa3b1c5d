"""Qwen3.5's mixture of experts, one of which all tokens use."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.recurrent.qwen35 import add_layers
from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4, groups=2, inner=64)
REAL = Size(
    40, 2048, 16, 2, 256, 512, experts=256, used=8, inner=4096, state=128, rank=32, groups=16,
    context=262_144, vocabulary=248_320,
)  # fmt: skip


def write(path: Path, size: Size = SMALL, *, drafts: int = 0) -> Path:
    return add_layers(RandomFile(path, "qwen35moe", size), drafts, experts=True)
