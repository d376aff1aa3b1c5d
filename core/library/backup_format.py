"""The format of an export: a folder with `library.json` and Markdown files.

An import reads `library.json` alone: one JSON document with one conversation or entry per line, so a library of any
size is read and written line by line. The Markdown files are for people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from core.library.conversations import Conversations
from core.library.journal import Journal
from core.library.records import Conversation, StoredMessage

FORMAT_VERSION: Final = 2
"""Version 1 had no zones, tags, stars and schema version; it is read like version 2."""
LIBRARY_FILE: Final = "library.json"
FIRST_LINE: Final = '{"charlie_export": '
"""Beginning of the first line; the version of the format follows."""

Progress = Callable[[int, int], None]
"""Called with the amount done and the total."""


class Library(Protocol):
    """Conversations and journal; a Client has both."""

    conversations: Conversations
    journal: Journal


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """One line of `library.json`: a conversation with its turns."""

    conversation: Conversation
    messages: list[StoredMessage]
