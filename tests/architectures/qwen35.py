"""Qwen3.5: gated delta nets in three layers of four, attention in the fourth."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.random_file import HEAD_DIM, WIDTH, RandomFile

CONVOLUTION, STATE, GROUPS, RANK, INTERVAL = 4, 16, 2, 4, 4
KEYS, VALUES = STATE * GROUPS, STATE * RANK


def write(path: Path) -> Path:
    file = RandomFile(path, "qwen35", layers=4)
    file.heads()
    file.writer.add_rope_dimension_sections([HEAD_DIM // 2, 0, 0, 0])
    file.writer.add_ssm_conv_kernel(CONVOLUTION)
    file.writer.add_ssm_inner_size(VALUES)
    file.writer.add_ssm_state_size(STATE)
    file.writer.add_ssm_time_step_rank(RANK)
    file.writer.add_ssm_group_count(GROUPS)
    file.writer.add_full_attention_interval(INTERVAL)
    for layer in range(file.layers):
        name = f"blk.{layer}"
        file.vector(f"{name}.attn_norm.weight")
        file.vector(f"{name}.post_attention_norm.weight")
        if (layer + 1) % INTERVAL == 0:
            file.attention(layer, query_parts=2)
        else:
            file.matrix(f"{name}.attn_qkv.weight", 2 * KEYS + VALUES, WIDTH)
            file.matrix(f"{name}.attn_gate.weight", VALUES, WIDTH)
            file.array(f"{name}.ssm_conv1d.weight", [[1 / CONVOLUTION] * CONVOLUTION] * (2 * KEYS + VALUES))
            file.vector(f"{name}.ssm_dt.bias", RANK, -3)
            file.vector(f"{name}.ssm_a", RANK, -0.1)
            file.matrix(f"{name}.ssm_beta.weight", RANK, WIDTH)
            file.matrix(f"{name}.ssm_alpha.weight", RANK, WIDTH)
            file.vector(f"{name}.ssm_norm.weight", STATE)
            file.matrix(f"{name}.ssm_out.weight", WIDTH, VALUES)
        file.feed_forward(layer)
    file.close()
    return path
