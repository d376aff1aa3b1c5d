"""One line beside the widget it is about: a failure with a hint, or a confirmation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from core.errors import CharlieError
from core.text import printable

if TYPE_CHECKING:
    from redis.exceptions import RedisError


def failures() -> tuple[type[CharlieError], type[RedisError]]:
    """Errors of a call to the client that a person can do something about."""
    from redis.exceptions import RedisError  # the first screen does not wait for it

    return CharlieError, RedisError


def in_words(error: CharlieError | RedisError) -> str:
    from core.database.connection import explain

    return str(error if isinstance(error, CharlieError) else explain(error))


class Notice(Static):
    """Hidden while it is empty."""

    DEFAULT_CSS = """
    Notice { display: none; height: auto; padding: 0 2; color: $text-muted; }
    Notice.-shown { display: block; }
    Notice.-failed { color: $text-error; }
    """

    def fail(self, error: CharlieError | RedisError) -> None:
        """Show an error with its hint. The caller keeps the text that the user has typed."""
        self._show(in_words(error), failed=True)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Show an error of the client that ends the block."""
        try:
            yield
        except failures() as error:
            self.fail(error)

    def say(self, sentence: str) -> None:
        self._show(sentence, failed=False)

    def clear(self) -> None:
        self.remove_class("-shown")

    def _show(self, sentence: str, *, failed: bool) -> None:
        text, room = Content(printable(sentence)), self.content_size
        fits = self.has_class("-shown") and room.width > 0 and text.get_height({}, room.width) == room.height
        # A layout of the screen with a long entry takes longer than a key press may, and progress comes often.
        self.update(text, layout=not fits)
        self.set_class(failed, "-failed")
        self.add_class("-shown")
