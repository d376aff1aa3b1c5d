"""The checksums of downloaded model files, kept beside them, so that a file that has changed since is told of."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file was when it was fetched. `modified` is its mtime in ns: while it and the size are the same, nothing
    is read.
    """

    repo: str
    file: str
    sha256: str
    bytes: int
    modified: int


def keep(path: Path, repo: str, file: str, sha256: str) -> Checksum:
    """Keep the checksum of a file that has just been fetched. Raises OSError."""
    found = path.stat()
    kept = Checksum(repo, file, sha256, found.st_size, found.st_mtime_ns)
    _write(path, kept)
    return kept


def read(path: Path) -> Checksum | None:
    """What is kept of a file; None where nothing is, or nothing that can be read."""
    try:
        data = json.loads(_place(path).read_bytes())
        kept = Checksum(**data)
    except (OSError, ValueError, TypeError):
        return None
    types = (kept.repo, str), (kept.file, str), (kept.sha256, str), (kept.bytes, int), (kept.modified, int)
    return kept if all(isinstance(value, kind) for value, kind in types) else None


def has_changed(path: Path, *, thorough: bool = False) -> Checksum | None:
    """The checksum that a file no longer has; None where it still has it, or none is kept.

    The file is read only when its time has changed and its size has not, or to be `thorough`. Raises OSError.
    """
    kept = read(path)
    if kept is None:
        return None
    found = path.stat()
    if found.st_size != kept.bytes:
        return kept
    if found.st_mtime_ns == kept.modified and not thorough:
        return None
    if sha256_of(path) != kept.sha256:
        return kept
    if found.st_mtime_ns != kept.modified:
        _write(path, replace(kept, modified=found.st_mtime_ns))
    return None


def sha256_of(path: Path) -> str:
    """Reads the whole file: seconds for gigabytes."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256.json")


def _write(path: Path, kept: Checksum) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".sha256-")
    part = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(kept), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(_place(path))
    finally:
        part.unlink(missing_ok=True)
