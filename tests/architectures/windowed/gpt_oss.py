"""gpt-oss: a sliding window in every second layer, attention sinks, and experts."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size, Words

SMALL = Size(layers=4)
REAL = Size(24, 2880, 64, 8, 64, 2880, 128, experts=32, used=4, context=131_072, vocabulary=201_088)


def write(path: Path, size: Size = SMALL, words: Words = Words()) -> Path:  # noqa: B008  # frozen
    file = RandomFile(path, "gpt-oss", size, words, attention__sliding_window=size.window)
    file.heads()
    file.expert_keys()
    for layer in range(file.layers):
        name = f"blk.{layer}"
        file.norms(layer, "attn_norm", "post_attention_norm")
        file.attention(layer, norms=False)
        for part, heads in (("q", size.heads), ("k", size.kv_heads), ("v", size.kv_heads)):
            file.vector(f"{name}.attn_{part}.bias", heads * size.head, 0)
        file.vector(f"{name}.attn_output.bias", value=0)
        file.vector(f"{name}.attn_sinks.weight", size.heads, 0)
        file.expert_layer(layer)
        file.vector(f"{name}.ffn_gate_inp.bias", size.experts, 0)
        for part, rows in (("gate", size.feed_forward), ("up", size.feed_forward), ("down", size.width)):
            file.array(f"{name}.ffn_{part}_exps.bias", 0, size.experts, rows)
    return file.close()
