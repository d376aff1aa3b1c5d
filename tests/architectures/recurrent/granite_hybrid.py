"""Granite 4: Mamba 2's state in most layers, attention in some."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4)
REAL = Size(
    40, 1536, 12, 4, 128, 8192, inner=3072, state=128, rank=48, context=131_072, vocabulary=100_352, tied=True
)  # fmt: skip
INTERVAL = 4


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "granitehybrid", size)
    attends = [layer % INTERVAL == INTERVAL - 1 for layer in range(size.layers)]
    file.heads([size.kv_heads if each else 0 for each in attends])
    file.state_keys()
    for layer in range(file.layers):
        file.norms(layer, "attn_norm", "ffn_norm")
        if attends[layer]:
            file.attention(layer, norms=False)
        else:
            file.mamba2_state(layer)
        file.feed_forward(layer)
    return file.close()
