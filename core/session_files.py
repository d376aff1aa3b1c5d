"""Where the KV caches of conversations lie, and how one is forgotten; see core/sessions.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STATE, RECORD, PART = ".kv", ".json", ".part"
"""llama.cpp's file, ours that says what is in it, and one that is being written."""
JOURNAL = "journal-"
"""How the name begins of what was read of the journal to answer a question; which state of the journal follows."""


def unlink(path: Path) -> None:
    """Remove a conversation's files, given one of them."""
    for suffix in (RECORD, STATE, PART):
        path.with_suffix(suffix).unlink(missing_ok=True)


def forget(root: Path, conversation: str) -> None:
    """Remove what is kept of a conversation, of any model."""
    _remove(root, f"{conversation}.")


def forget_journal(root: Path) -> None:
    """Remove what is kept of the journal, of any model."""
    _remove(root, JOURNAL)


def _remove(root: Path, beginning: str) -> None:
    for path in root.glob(f"*/{beginning}*"):
        unlink(path)
