"""Conversations and entries as Markdown files, for people and other programs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.figures import local_time
from core.library.records import Conversation, Entry, StoredMessage
from core.text import printable

SLUG_WIDTH = 40


def markdown_of(conversation: Conversation, messages: Sequence[StoredMessage]) -> str:
    parts = [f"# {printable(conversation.title) or 'Conversation'}"]
    for message in messages:
        author = "You" if message.role == "user" else "Charlie"
        parts += [f"## {author} · {local_time(message.at)}", printable(message.text)]
    return "\n\n".join(parts) + "\n"


def markdown_of_entry(entry: Entry) -> str:
    changed = f", changed {local_time(entry.updated, zone=entry.zone)}" if entry.revision > 1 else ""
    return f"*Written {local_time(entry.created, zone=entry.zone)}{changed}*\n\n{printable(entry.text)}\n"


def slug(title: str) -> str:
    """A title as part of a file name: letters, digits, `_` and `-` alone, so no path; may be empty."""
    return re.sub(r"[^\w-]+", "-", title.casefold()).strip("-")[:SLUG_WIDTH].strip("-")
