"""DeepSeek and GLM Flash: multi-head latent attention, whose cache holds no values; experts after the first layer."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.sized_file import RandomFile, Size

SMALL = Size(layers=3, kv_heads=1)
REAL = Size(47, 2048, 20, 1, 256, 1536, experts=64, used=4, context=202_752, vocabulary=154_880)


def write(path: Path, size: Size = SMALL) -> Path:
    latent, rope, head = 2 * size.head, size.head // 4, size.head
    file = RandomFile(path, "deepseek2", size, leading_dense_block_count=1, expert_shared_count=1)
    file.heads()
    file.expert_keys()
    file.keys(
        attention__q_lora_rank=latent, attention__kv_lora_rank=latent, attention__key_length=latent + rope,
        attention__value_length=latent, attention__key_length_mla=head, attention__value_length_mla=head,
        rope__dimension_count=rope,
    )  # fmt: skip
    for layer in range(file.layers):
        name = f"blk.{layer}.attn"
        file.norms(layer, "attn_norm", "ffn_norm")
        file.vector(f"{name}_q_a_norm.weight", latent, 3)
        file.vector(f"{name}_kv_a_norm.weight", latent, 3)
        file.matrix(f"{name}_q_a.weight", latent, size.width)
        file.matrix(f"{name}_q_b.weight", size.heads * head, latent)
        file.matrix(f"{name}_kv_a_mqa.weight", latent + rope, size.width)
        file.matrix(f"{name}_k_b.weight", size.heads, latent, head - rope)
        file.matrix(f"{name}_v_b.weight", size.heads, head, latent)
        file.matrix(f"{name}_output.weight", size.width, size.heads * head)
        if layer:
            file.expert_layer(layer, shared=True)
        else:
            file.feed_forward(layer)
    return file.close()
