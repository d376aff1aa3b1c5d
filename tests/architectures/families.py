"""The generated architectures that generate text, by what they remember."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.architectures import gemma3, gpt_oss, granite_hybrid, lfm2, mamba2, qwen3, qwen35

Write = Callable[[Path], Path]
ATTENTION: dict[str, Write] = {"qwen3": qwen3.write}
WINDOWED: dict[str, Write] = {"gemma3": gemma3.write, "gpt-oss": gpt_oss.write}
RECURRENT: dict[str, Write] = {"mamba2": mamba2.write}
HYBRID: dict[str, Write] = {
    "qwen35": qwen35.write,
    "lfm2": lfm2.write,
    "granitehybrid": granite_hybrid.write,
}
FAMILIES = ATTENTION | WINDOWED | RECURRENT | HYBRID
