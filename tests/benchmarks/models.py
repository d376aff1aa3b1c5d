"""The models that speed is measured on: the starters, and two llama-shaped ones of random numbers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gguf

from core import starter
from core.settings import Role
from tests.model_files import Size, write_random

CONTEXT = 8192
"""What they were made for; they are loaded with Charlie's usual 4,096 where no more is needed."""
TENTH = Size(width=768, layers=12, heads=12, feed_forward=2048, context=CONTEXT, words=True)
HALF = Size(
    width=1280, layers=24, heads=20, feed_forward=3456, context=CONTEXT, words=True,
    weights=gguf.GGMLQuantizationType.Q8_0,
)  # fmt: skip
SHORT = Size(width=256, layers=4, heads=4, feed_forward=512, context=CONTEXT, words=True)
"""In place of both where it is only seen that a measurement works."""


@dataclass(frozen=True, slots=True)
class Models:
    """The model files of one run. `short` is set where only that it works is wanted, in seconds."""

    folder: Path
    starters: dict[Role, Path]
    tenth: Path
    half: Path
    other: Path
    """A small generating model, to be swapped for one of the others."""
    short: bool

    @property
    def instruct(self) -> dict[str, Path]:
        return {"starter": self.starters[Role.INSTRUCT], "0.1 B": self.tenth, "0.5 B": self.half}


@contextmanager
def built(*, short: bool) -> Iterator[Models]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tenth, half = folder / "tenth.gguf", folder / "half.gguf"
        write_random(tenth, 1, SHORT if short else TENTH)
        write_random(half, 2, SHORT if short else HALF)
        other = write_random(folder / "other.gguf", 3, SHORT)
        yield Models(folder, {role: starter.path_of(role) for role in Role}, tenth, half, other, short)


def threads_of(name: str) -> int:
    """How many threads Charlie uses by itself, and so the others: one for a starter, else every core."""
    return 1 if name == "starter" else os.cpu_count() or 1
