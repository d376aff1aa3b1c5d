"""Gemma 4: a sliding window and smaller heads in five layers of six; the last layers read the cache of others."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=12, head=32, window=48)
REAL = Size(42, 2560, 8, 2, 512, 10_240, window=512, context=131_072, vocabulary=262_144, tied=True)


def write(path: Path, size: Size = SMALL) -> Path:
    per_layer = size.width // 10 // 32 * 32 or 32
    windowed = [layer % 6 < 5 for layer in range(size.layers)]
    file = RandomFile(path, "gemma4", size, attention__sliding_window_pattern=windowed)
    file.heads()
    file.keys(
        attention__sliding_window=size.window, attention__shared_kv_layers=size.layers // 2 // 6 * 6,
        attention__key_length_swa=size.head // 2, attention__value_length_swa=size.head // 2,
        rope__dimension_count_swa=size.head // 2, embedding_length_per_layer_input=per_layer,
    )  # fmt: skip
    for layer in range(file.layers):
        name = f"blk.{layer}"
        file.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm")
        file.attention(layer, head=size.head // 2 if windowed[layer] else size.head)
        file.feed_forward(layer)
        file.vector(f"{name}.layer_output_scale.weight", 1)
        file.matrix(f"{name}.inp_gate.weight", per_layer, size.width)
        file.matrix(f"{name}.proj.weight", size.width, per_layer)
    file.vector("rope_freqs.weight", size.head // 2)
    file.matrix("per_layer_token_embd.weight", file.tokens, per_layer * size.layers)
    file.matrix("per_layer_model_proj.weight", per_layer * size.layers, size.width)
    file.vector("per_layer_proj_norm.weight", per_layer)
    return file.close()
