"""Qwen3-Next: as Qwen3.5's mixture of experts, with one matrix for both gates of a delta net."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.recurrent.qwen35 import add_layers
from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4, groups=2, inner=64)
REAL = Size(
    48, 2048, 16, 2, 256, 512, experts=512, used=10, inner=4096, state=128, rank=32, groups=16,
    context=262_144, vocabulary=151_936,
)  # fmt: skip


def write(path: Path, size: Size = SMALL) -> Path:
    return add_layers(RandomFile(path, "qwen3next", size), experts=True, joined=True)
