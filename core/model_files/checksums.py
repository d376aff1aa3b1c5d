"""Checksums of downloaded model files, saved beside them, so that a changed file is noticed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from core.files import write_atomically


@dataclass(frozen=True, slots=True)
class Checksum:
    """A file as it was downloaded. While `modified` (mtime in ns) and the size are the same, it is not read again."""

    repo: str
    file: str
    sha256: str
    bytes: int
    modified: int
    revision: str | None = None
    """The repository's commit."""


def save(path: Path, repo: str, file: str, sha256: str, revision: str | None = None) -> Checksum:
    """Save the checksum of a file that was just downloaded. Raises OSError."""
    found = path.stat()
    kept = Checksum(repo, file, sha256, found.st_size, found.st_mtime_ns, revision)
    _write(path, kept)
    return kept


def read(path: Path) -> Checksum | None:
    """The saved checksum of a file; None without a readable one."""
    try:
        kept: Checksum = TypeAdapter(Checksum).validate_json(_place(path).read_bytes(), strict=True)
    except (OSError, ValidationError):
        return None
    return kept


def has_changed(path: Path, *, thorough: bool = False) -> Checksum | None:
    """The checksum of the download if the file has changed since, else None; None also without a saved checksum.

    The file is read only if its time has changed and its size has not, or if `thorough`. Raises OSError.
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
    """Reads the whole file, which takes seconds for gigabytes."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256.json")


def _write(path: Path, kept: Checksum) -> None:
    write_atomically(_place(path), json.dumps(asdict(kept)))
