"""Keeps a model from writing a character in more bytes than UTF-8 has for it.

A grammar of llama.cpp takes these bytes for the character, where another with more bytes could stand at the same place;
whoever decodes the text does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.native import pieces

if TYPE_CHECKING:
    from llama_cpp import Llama

SECOND = {0xE0: range(0x80, 0xA0), 0xF0: range(0x80, 0x90)}
"""By a character's first byte, what its second must not be; The Unicode Standard, table 3-7."""


class NoOverlong:
    """A logits processor of llama-cpp-python."""

    def __init__(self, llama: Llama) -> None:
        self._piece = pieces(llama)
        self._count = llama.n_vocab()
        self._barred: dict[int, list[int]] = {}

    def __call__(self, tokens: Any, logits: Any) -> Any:
        last = self._piece(int(tokens[-1]))[-1:]
        if last and last[0] in SECOND:
            logits[self._beginning(last[0])] = float("-inf")
        return logits

    def _beginning(self, first: int) -> list[int]:
        """The tokens that may not follow; the vocabulary is gone through once, when it first matters."""
        if first not in self._barred:
            bad = SECOND[first]
            self._barred[first] = [token for token in range(self._count) if (self._piece(token) or b"\0")[0] in bad]
        return self._barred[first]
