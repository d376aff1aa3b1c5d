"""Gemma 3n: a sliding window in four layers of five, which share a cache after the twentieth; four parallel streams."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=22)
REAL = Size(35, 2048, 8, 2, 256, 16_384, window=512, context=32_768, vocabulary=262_144, tied=True)
STREAMS, LAUREL = 4, 64
"""llama.cpp knows these sizes only."""
PER_LAYER = 256


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "gemma3n", size, attention__sliding_window=size.window)
    file.heads()
    file.keys(embedding_length_per_layer_input=PER_LAYER, attention__shared_kv_layers=max(0, size.layers - 20))
    width = size.width
    for layer in range(file.layers):
        name = f"blk.{layer}"
        file.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm")
        file.norms(layer, "altup_correct_scale", "altup_router_norm", "laurel_post_norm")
        file.attention(layer)
        file.feed_forward(layer)
        file.matrix(f"{name}.inp_gate.weight", PER_LAYER, width)
        file.matrix(f"{name}.proj.weight", width, PER_LAYER)
        file.router(f"{name}.altup_correct_coef.weight", STREAMS, STREAMS)
        file.router(f"{name}.altup_predict_coef.weight", STREAMS * STREAMS, STREAMS)
        file.router(f"{name}.altup_router.weight", STREAMS, width)
        file.matrix(f"{name}.laurel_l.weight", LAUREL, width)
        file.matrix(f"{name}.laurel_r.weight", width, LAUREL)
    file.matrix("altup_proj.weight", STREAMS - 1, width, width)
    file.matrix("altup_unembd_proj.weight", STREAMS - 1, width, width)
    file.matrix("per_layer_token_embd.weight", file.tokens, PER_LAYER * size.layers)
    file.matrix("per_layer_model_proj.weight", PER_LAYER * size.layers, width)
    file.vector("per_layer_proj_norm.weight", PER_LAYER)
    return file.close()
