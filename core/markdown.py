"""Conversations and entries as Markdown files, for people and other programs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from core.library import Conversation, Entry, StoredMessage
from core.text import printable

SLUG_WIDTH = 40


def markdown_of(conversation: Conversation, messages: Sequence[StoredMessage]) -> str:
    parts = [f"# {printable(conversation.title) or 'Conversation'}"]
    for message in messages:
        author = "You" if message.role == "user" else "Charlie"
        parts += [f"## {author} · {_minute(message.at)}", printable(message.text)]
    return "\n\n".join(parts) + "\n"


def markdown_of_entry(entry: Entry) -> str:
    changed = f", changed {_minute(entry.updated)}" if entry.revision > 1 else ""
    return f"*Written {_minute(entry.created)}{changed}*\n\n{printable(entry.text)}\n"


def slug(title: str) -> str:
    """A title as part of a file name: letters, digits, `_` and `-` alone, so no path; may be empty."""
    return re.sub(r"[^\w-]+", "-", title.casefold()).strip("-")[:SLUG_WIDTH].strip("-")


def _minute(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
