"""OLMo 3: a sliding window in three layers of four."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.attention.olmo2 import add_layers
from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4)
REAL = Size(32, 4096, 32, 32, 128, 11_008, window=4096, context=65_536, vocabulary=100_278)


def write(path: Path, size: Size = SMALL) -> Path:
    return add_layers(RandomFile(path, "olmo2", size, attention__sliding_window=size.window))
