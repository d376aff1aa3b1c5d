"""A conversation as a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.errors import CharlieError
from core.library import Conversation, StoredMessage
from core.markdown import markdown_of, slug


def export_conversation(conversation: Conversation, messages: Sequence[StoredMessage], folder: Path) -> Path:
    """Write the conversation into `folder` and return the file; an export of the same conversation is replaced.

    Raises CharlieError when the folder cannot be written.
    """
    path = folder / f"{slug(conversation.title) or 'conversation'}-{conversation.id[-6:]}.md"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(markdown_of(conversation, messages), encoding="utf-8")
    except OSError as error:
        raise CharlieError(
            f"The file {path} cannot be written: {error.strerror or error}.", "Make room, or make it writable."
        ) from error
    return path
