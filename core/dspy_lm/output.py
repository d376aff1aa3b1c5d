"""A reasoning model's thoughts, split off its answer while it streams."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN, CLOSE = "<think>", "</think>"


@dataclass(slots=True)
class Thoughts:
    """Splits off what a reasoning model writes between `<think>` and `</think>` before it answers."""

    thinking: bool
    """Whether the prompt has opened the thoughts already."""
    _begun: bool = field(init=False)
    _leading: bool = False
    """Whether nothing but blanks have come since the thoughts ended."""
    _pending: str = ""

    def __post_init__(self) -> None:
        self._begun = self.thinking

    def split(self, text: str, *, last: bool = False) -> Iterator[tuple[bool, str]]:
        """Pieces of what is certain, each with whether it is a thought; `last` says that nothing follows."""
        self._pending += text
        if not self._begun:
            beginning = self._pending.lstrip()
            if not last and len(beginning) < len(OPEN) and OPEN.startswith(beginning):
                return
            self._begun = True
            if beginning.startswith(OPEN):
                self.thinking, self._pending = True, beginning.removeprefix(OPEN)
        if self.thinking:
            thought, found, answer = self._pending.partition(CLOSE)
            held = 0 if found or last else _overlap(thought, CLOSE)
            if kept := thought[: len(thought) - held]:
                yield True, kept
            self._pending = answer if found else thought[len(thought) - held :]
            self.thinking, self._leading = not found, bool(found)
        if self.thinking:
            return
        if self._leading:
            self._pending = self._pending.lstrip()
        if self._pending:
            yield False, self._pending
            self._pending, self._leading = "", False


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of `text` may be the beginning of `mark`."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if text.endswith(mark[:size])), 0)
