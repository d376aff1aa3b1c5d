"""Nemotron H: each layer is Mamba 2's state, attention or a feed-forward net without a gate."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=6)
REAL = Size(
    56, 4480, 40, 8, 128, 15_680, inner=10_240, state=128, rank=128, groups=8, context=131_072, vocabulary=131_072
)  # fmt: skip
STATE, FORWARD, ATTENTION = range(3)


def write(path: Path, size: Size = SMALL) -> Path:
    kinds = [ATTENTION if layer % 12 == 3 else layer % 2 for layer in range(size.layers)]
    file = RandomFile(path, "nemotron_h", size, attention__layer_norm_epsilon=1e-5)
    file.heads([size.kv_heads if kind == ATTENTION else 0 for kind in kinds])
    file.keys(feed_forward_length=[size.feed_forward if kind == FORWARD else 0 for kind in kinds])
    file.state_keys()
    for layer, kind in enumerate(kinds):
        file.norms(layer, "attn_norm")
        if kind == STATE:
            file.mamba2_state(layer)
        elif kind == ATTENTION:
            file.attention(layer, norms=False)
        else:
            file.feed_forward(layer, gate=False)
    return file.close()
