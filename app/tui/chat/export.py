"""A conversation as a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.errors import CharlieError
from core.files import write_atomically
from core.library.markdown import markdown_of, slug
from core.library.records import Conversation, StoredMessage


def export_conversation(conversation: Conversation, messages: Sequence[StoredMessage], folder: Path) -> Path:
    """Write the conversation into `folder` and return the file; an export of the same conversation is replaced.

    Raises CharlieError when the folder cannot be written.
    """
    path = folder / f"{slug(conversation.title) or 'conversation'}-{conversation.id[-6:]}.md"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, markdown_of(conversation, messages))
    except OSError as error:
        raise CharlieError(
            f"The file {path} cannot be written: {error.strerror or error}.", "Make room, or make it writable."
        ) from error
    return path
