"""Where the KV caches of conversations lie, and how one is forgotten; see core/sessions.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STATE, RECORD = ".kv", ".json"
"""llama.cpp's file, and ours that says what is in it."""


def unlink(path: Path) -> None:
    """Remove a conversation's two files, given one of them."""
    for suffix in (RECORD, STATE):
        path.with_suffix(suffix).unlink(missing_ok=True)


def forget(root: Path, conversation: str) -> None:
    """Remove what is kept of a conversation, of any model."""
    for path in root.glob(f"*/{conversation}.*"):
        unlink(path)
