"""What tells one model from another: by content, not by name. Never loads llama.cpp."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def file_id(path: Path, template: str | None) -> str:
    """The hashes of a model file and of its chat template, and the file's name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)
    return f"{hash_file(path)}-{hash_text(template or '')[:8]}-{name}"


def hash_file(path: Path) -> str:
    """Kept for as long as the file has the same size and time."""
    stat = path.stat()
    return _hash_file(path, stat.st_size, stat.st_mtime_ns)[:16]


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=8)
def _hash_file(path: Path, size: int, modified: int) -> str:  # noqa: ARG001  # they make the cache's key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
