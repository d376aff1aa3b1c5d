"""Model files by their names: the parts of a split model, and downloads that have not ended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PART: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
"""llama.cpp, llama_split_path."""
MAX_PARTS: Final = 1000
UNFINISHED: Final = (
    ".part", ".partial", ".crdownload", ".download", ".incomplete", ".opdownload", ".aria2", ".!ut", ".!qb",
)  # fmt: skip
"""Endings that browsers and downloaders give to a file until it is whole."""


def parts_of(path: Path) -> tuple[Path, ...]:
    """All parts of the model that a file is a part of by its name, in order; another file alone."""
    found = PART.fullmatch(path.name)
    if found is None or not 1 <= int(found[2]) <= int(found[3]) <= MAX_PARTS:
        return (path,)
    count = int(found[3])
    return tuple(path.with_name(f"{found[1]}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1))


def download_of(path: Path) -> str:
    """The name of a running download of this file; empty without one. aria2 keeps its record beside a file."""
    if path.name.lower().endswith(UNFINISHED):
        return path.name
    beside = path.with_name(f"{path.name}.aria2")
    return beside.name if beside.exists() else ""
