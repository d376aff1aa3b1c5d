"""The files of saved KV caches; see core/llama/session_cache.py. Never loads llama.cpp.

app/library_changes.py has the caches of deleted entries and conversations removed.
"""

from __future__ import annotations

from pathlib import Path

from core.files import PARTIAL_SUFFIX

STATE, RECORD = ".kv", ".json"
"""Suffixes: the KV cache as llama.cpp writes it, and the record of its tokens and checksum."""


def remove(path: Path) -> None:
    """Remove a saved KV cache, given one of its files."""
    for suffix in (RECORD, STATE, PARTIAL_SUFFIX):
        path.with_suffix(suffix).unlink(missing_ok=True)


def forget(root: Path, prefix: str) -> None:
    """Remove the KV caches, of any model, whose file names begin with `prefix`."""
    for path in root.glob("*/*"):
        if path.name.lstrip(".").startswith(prefix):  # a file that is being written begins with a dot
            path.unlink(missing_ok=True)
