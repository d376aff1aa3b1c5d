"""Mamba 2: a recurrent state in every layer, no attention. Granite's hybrids have the same state."""

from __future__ import annotations

from pathlib import Path

from tests.architectures.random_file import WIDTH, RandomFile

CONVOLUTION, INNER, STATE, RANK, GROUPS = 4, 2 * WIDTH, 16, 4, 1
CONVOLVED = INNER + 2 * GROUPS * STATE


def write(path: Path) -> Path:
    file = RandomFile(path, "mamba2", layers=3)
    file.writer.add_head_count(0)
    add_state(file)
    for layer in range(file.layers):
        file.vector(f"blk.{layer}.attn_norm.weight")
        state(file, layer)
    file.close()
    return path


def add_state(file: RandomFile) -> None:
    """The header fields of the state."""
    file.writer.add_ssm_conv_kernel(CONVOLUTION)
    file.writer.add_ssm_inner_size(INNER)
    file.writer.add_ssm_state_size(STATE)
    file.writer.add_ssm_time_step_rank(RANK)
    file.writer.add_ssm_group_count(GROUPS)


def state(file: RandomFile, layer: int) -> None:
    """The tensors of the state. It takes small steps, so that it keeps earlier tokens for long."""
    name = f"blk.{layer}"
    file.matrix(f"{name}.ssm_in.weight", INNER + CONVOLVED + RANK, WIDTH)
    file.array(f"{name}.ssm_conv1d.weight", [[1 / CONVOLUTION] * CONVOLUTION] * CONVOLVED)
    file.vector(f"{name}.ssm_conv1d.bias", CONVOLVED, 0)
    file.vector(f"{name}.ssm_dt.bias", RANK, -3)
    file.array(f"{name}.ssm_a", [[-0.1]] * RANK)
    file.array(f"{name}.ssm_d", [[0.1]] * RANK)
    file.array(f"{name}.ssm_norm.weight", [[1.0] * (INNER // GROUPS)] * GROUPS)
    file.matrix(f"{name}.ssm_out.weight", WIDTH, INNER)
