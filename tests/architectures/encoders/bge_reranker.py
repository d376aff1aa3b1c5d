"""BGE's reranker: BERT with a score as its output."""

from __future__ import annotations

from pathlib import Path

import gguf

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=2)
REAL = Size(24, 1024, 16, 16, 64, 4096, context=8192, vocabulary=250_002)


def write(path: Path, size: Size = SMALL) -> Path:
    file = RandomFile(path, "bert", size, pooling_type=int(gguf.PoolingType.RANK))
    file.matrix("cls.weight", size.width, size.width)
    file.vector("cls.bias", value=0)
    file.matrix("cls.output.weight", 1, size.width)
    file.vector("cls.output.bias", 1, 0)
    file.array("position_embd.weight", 0, size.context, size.width)
    return add_layers(file)


def add_layers(file: RandomFile, *, gate: bool = False, experts: int = 0) -> Path:
    """BERT's layers; `experts`: every so many layers."""
    size = file.size
    file.keys(
        attention__head_count=size.heads, attention__layer_norm_epsilon=1e-12, attention__causal=False,
    )  # fmt: skip
    file.writer.add_token_type_count(1)
    for part, value in (("weight", 1.0), ("bias", 0.0)):
        file.vector(f"token_embd_norm.{part}", value=value)
        for layer in range(file.layers):
            for norm in ("attn_output_norm", "layer_output_norm"):
                file.vector(f"blk.{layer}.{norm}.{part}", value=value)
    file.array("token_types.weight", 0, 1, size.width)
    for layer in range(file.layers):
        name = f"blk.{layer}"
        for projection in ("attn_q", "attn_k", "attn_v", "attn_output"):
            file.matrix(f"{name}.{projection}.weight", size.width, size.width)
            file.vector(f"{name}.{projection}.bias", value=0)
        if experts and layer % experts == 1:
            file.expert_layer(layer, gate=False)
        else:
            file.feed_forward(layer, gate=gate)
            file.vector(f"{name}.ffn_up.bias", size.feed_forward, 0)
            file.vector(f"{name}.ffn_down.bias", value=0)
    return file.close("", output=False)
