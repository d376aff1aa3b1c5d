"""Llama 4: chunks of 8,192 tokens in three layers of four, and experts in every second one."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=4)
REAL = Size(48, 5120, 40, 8, 128, 8192, experts=16, used=1, context=262_144, vocabulary=202_048)


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "llama4", size, interleave_moe_layer_step=2)
    file.heads()
    file.expert_keys()
    for layer in range(file.layers):
        file.norms(layer, "attn_norm", "ffn_norm")
        file.attention(layer, norms=False)
        if layer % 2:
            file.expert_layer(layer, shared=True)
        else:
            file.feed_forward(layer)
    return file.close()
