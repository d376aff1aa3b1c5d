"""Writes files so that a reader finds the old content or the new, never a part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PARTIAL_SUFFIX = ".part"
"""Suffix of unfinished files; a killed process leaves one behind."""


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Modification time, size and inode, by which a change of a file is noticed; None without a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def write_atomically(path: Path, data: str | bytes, *, durable: bool = True) -> None:
    """Replace a file, readable by its user alone. With `durable`, the content is on the disk before the name is.

    Raises OSError; the old file is then unchanged.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL_SUFFIX)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
