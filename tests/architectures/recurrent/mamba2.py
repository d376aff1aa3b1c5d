"""Mamba 2: a recurrent state in every layer, no attention."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=3)
REAL = Size(64, 4096, 0, inner=8192, state=128, rank=128, groups=8, context=262_144, vocabulary=32_768)


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "mamba2", size, attention__head_count=0)
    file.state_keys()
    for layer in range(file.layers):
        file.norms(layer, "attn_norm")
        file.mamba2_state(layer)
    return file.close()
