"""One line beside what it is about: what went wrong and what to do, or that something was done."""

from __future__ import annotations

from redis.exceptions import RedisError
from textual.content import Content
from textual.widgets import Static

from core.database import explain
from core.errors import CharlieError
from core.text import printable

FAILURES = (CharlieError, RedisError)
"""What a call to the client or the library may raise and a person can do something about."""


class Notice(Static):
    """Hidden while there is nothing to say."""

    DEFAULT_CSS = """
    Notice { display: none; height: auto; padding: 0 2; color: $text-muted; }
    Notice.-told { display: block; }
    Notice.-failed { color: $text-error; }
    """

    def fail(self, error: CharlieError | RedisError) -> None:
        """Show one of FAILURES as its sentence and hint. What was typed is kept by whoever asked."""
        told = error if isinstance(error, CharlieError) else explain(error)
        self._show(str(told), failed=True)

    def say(self, sentence: str) -> None:
        self._show(sentence, failed=False)

    def clear(self) -> None:
        self.remove_class("-told")

    def _show(self, sentence: str, *, failed: bool) -> None:
        self.update(Content(printable(sentence)))
        self.set_class(failed, "-failed")
        self.add_class("-told")
