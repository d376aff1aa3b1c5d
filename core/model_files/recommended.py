"""The model files that Charlie recommends for a machine's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.roles import Role

RAM_SHARE, VRAM_SHARE = 1 / 3, 0.8
"""A recommended model takes at most this share of the machine's RAM, or of one accelerator's VRAM. RAM's is smaller:
other programs need some, and the CPU reads the whole model for each token."""


@dataclass(frozen=True, slots=True)
class Recommended:
    """One model. Bytes are rounded; the hub knows the exact size."""

    repo: str
    file: str
    file_bytes: int
    ram_bytes: int
    """With the default context length, on the CPU."""


RECOMMENDED: Final[dict[Role, tuple[Recommended, ...]]] = {
    Role.INSTRUCT: (
        Recommended("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf", 640_000_000, 1_400_000_000),
        Recommended("Qwen/Qwen3-1.7B-GGUF", "Qwen3-1.7B-Q8_0.gguf", 1_830_000_000, 2_700_000_000),
        Recommended("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf", 2_500_000_000, 3_600_000_000),
        Recommended("Qwen/Qwen3-8B-GGUF", "Qwen3-8B-Q4_K_M.gguf", 5_030_000_000, 6_200_000_000),
        Recommended("Qwen/Qwen3-14B-GGUF", "Qwen3-14B-Q4_K_M.gguf", 9_000_000_000, 10_500_000_000),
    ),
    Role.EMBEDDING: (
        Recommended("Qwen/Qwen3-Embedding-0.6B-GGUF", "Qwen3-Embedding-0.6B-Q8_0.gguf", 640_000_000, 900_000_000),
    ),
    Role.RERANKER: (
        Recommended("gpustack/bge-reranker-v2-m3-GGUF", "bge-reranker-v2-m3-Q8_0.gguf", 640_000_000, 800_000_000),
    ),
}
"""By role, smallest first."""


def recommended(role: Role, ram: int, vram: int = 0) -> Recommended:
    """The largest model of a role that fits a machine; `ram` and `vram` (of its largest accelerator) in bytes."""
    room = max(ram * RAM_SHARE, vram * VRAM_SHARE)
    fitting = [each for each in RECOMMENDED[role] if each.ram_bytes <= room]
    return fitting[-1] if fitting else RECOMMENDED[role][0]
