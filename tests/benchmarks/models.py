"""The models of the speed table: SmolLM2, Llama models with random weights, and small ones to swap them with."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gguf

from core.roles import Role
from tests.architectures.smollm2 import smollm2
from tests.benchmarks.shapes import Shape, write
from tests.model_files import Size, endless, write_random
from tests.tiny_models import tiny_models

CONTEXT = 8192
"""The models' own context length. Most measurements load them with Charlie's default of 4,096."""
TENTH = Size(width=768, layers=12, heads=12, feed_forward=2048, context=CONTEXT, words=True)
HALF = Size(
    width=1280, layers=24, heads=20, feed_forward=3456, context=CONTEXT, words=True,
    weights=gguf.GGMLQuantizationType.Q8_0,
)  # fmt: skip
SHORT = Size(width=256, layers=4, heads=4, feed_forward=512, context=CONTEXT, words=True)
"""Replaces both in the short form."""
SMALLEST = Size(width=192, layers=6, heads=6, feed_forward=512, context=CONTEXT, words=True)
ENCODER = Shape("bert", layers=3, width=192, heads=6, kv_heads=6, feed_forward=768, context=512, role=Role.EMBEDDING)
"""These two make the shortest swaps: what is not the load itself shows most."""


@dataclass(frozen=True, slots=True)
class Models:
    """The model files of one run. `short` asks for the short form, which takes seconds and has no valid figures."""

    folder: Path
    tiny: dict[Role, Path]
    tenth: Path
    half: Path
    other: Path
    """A small instruct model (7 M): what the peers unload in a swap, and where overhead beside the model shows most."""
    smollm2: Path
    """The real SmolLM2-135M, but its replies never end by themselves."""
    smallest: dict[Role, Path]
    """An instruct model of 6 layers and an embedding model of 3."""
    short: bool

    @property
    def instruct(self) -> dict[str, Path]:
        return {"0.1 B": self.tenth, "0.5 B": self.half}


@contextmanager
def built(*, short: bool) -> Iterator[Models]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tenth, half = folder / "tenth.gguf", folder / "half.gguf"
        write_random(tenth, 1, SHORT if short else TENTH)
        write_random(half, 2, SHORT if short else HALF)
        other = write_random(folder / "other.gguf", 3, SHORT)
        real = endless(smollm2(), folder / "smollm2.gguf")
        smallest = {
            Role.INSTRUCT: write_random(folder / "smallest.gguf", 4, SMALLEST),
            Role.EMBEDDING: write(folder / "encoder.gguf", ENCODER),
        }
        yield Models(folder, tiny_models(), tenth, half, other, real, smallest, short)


def threads() -> int:
    """Threads of Charlie's prefill by default, and of the raw engine and the peers: one for each core."""
    return os.cpu_count() or 1
