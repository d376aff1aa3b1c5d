"""A conversation as a Markdown file."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from core.errors import CharlieError
from core.library import Conversation, StoredMessage
from core.text import printable


def export_conversation(conversation: Conversation, messages: Sequence[StoredMessage], folder: Path) -> Path:
    """Write the conversation into `folder` and return the file; an export of the same conversation is replaced.

    Raises CharlieError when the folder cannot be written.
    """
    name = re.sub(r"[^\w-]+", "-", conversation.title.casefold()).strip("-")[:40].strip("-") or "conversation"
    path = folder / f"{name}-{conversation.id[-6:]}.md"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(markdown_of(conversation, messages), encoding="utf-8")
    except OSError as error:
        raise CharlieError(
            f"The file {path} cannot be written: {error.strerror or error}.", "Make room, or make it writable."
        ) from error
    return path


def markdown_of(conversation: Conversation, messages: Sequence[StoredMessage]) -> str:
    parts = [f"# {printable(conversation.title) or 'Conversation'}"]
    for message in messages:
        author = "You" if message.role == "user" else "Charlie"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(message.at))
        parts += [f"## {author} · {when}", printable(message.text)]
    return "\n\n".join(parts) + "\n"
