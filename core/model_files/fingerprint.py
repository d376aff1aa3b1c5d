"""Tells model files apart by content, not by name. Never loads llama.cpp."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from core.files import write_atomically
from core.model_files import checksums
from core.model_files.gguf import Header
from core.model_files.spec import ModelSpec

EMBEDDING_BYTES = 1 << 20
"""Only the start of each file of an embedding model is read: its vectors are looked up at each load."""
VECTOR_FORMAT = 3
"""Grows when the vectors of a text change; 1 had no prefixes, 2 longer passages."""
_hashes: dict[str, Any] = {}
"""What this process knows, as in the file `cache`: by path, the file's time, bytes and inode, and its hash."""


def file_sha256(path: Path, cache: Path | None = None) -> str:
    """The SHA-256 of a file, read whole only when its time, size or inode is new.

    Known are the hashes that this process has computed, those in the JSON file `cache`, and those of downloads.
    """
    found = path.stat()
    stamp = [found.st_mtime_ns, found.st_size, found.st_ino]
    cached = _read(cache) if cache else {}
    for hashes in (_hashes, cached):
        match hashes.get(str(path)):
            case [*before, str(digest)] if before == stamp:
                return digest
    kept = checksums.read(path)
    if kept is not None and [kept.modified, kept.bytes] == stamp[:2]:
        return kept.sha256
    digest = checksums.sha256_of(path)
    _hashes[str(path)] = cached[str(path)] = [*stamp, digest]
    if cache:
        write_atomically(cache, json.dumps(cached), durable=False)
    return digest


def model_sha256(header: Header, cache: Path | None = None) -> str:
    """The hash of all files of a model; of one file its SHA-256. For `cache` see `file_sha256`."""
    hashes = [file_sha256(each.path, cache) for each in header.files]
    return hashes[0] if len(hashes) == 1 else text_sha256(" ".join(hashes))


def _read(cache: Path) -> dict[str, Any]:
    try:
        hashes = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return hashes if isinstance(hashes, dict) else {}


def text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file_id(header: Header, template: str | None) -> str:
    """Identifies a generating model: hashes of its files and chat template, and the first file's name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", header.path.stem)
    return f"{model_sha256(header)[:16]}-{text_sha256(template or '')[:8]}-{name}"


def embedding_id(spec: ModelSpec) -> str:
    """The key of a model's vectors: the same for the same file and the same treatment of texts, wherever it lies."""
    digest = hashlib.sha256()
    for each in spec.header.files:
        with each.path.open("rb") as file:
            digest.update(file.read(EMBEDDING_BYTES))
    form = spec.header.text_form
    digest.update(f"{VECTOR_FORMAT} {spec.header.file_bytes} {spec.pooling} {form.passage!r} {form.end!r}".encode())
    return f"{spec.path.name}:{digest.hexdigest()[:16]}"
