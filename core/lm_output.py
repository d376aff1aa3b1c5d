"""What comes out of a model, for DSPy: text in pieces, what was only thought, and how likely each token was."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from core.native import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dspy import lm15
    from llama_cpp import Llama

OPEN, CLOSE = "<think>", "</think>"


class Text:
    """Tokens to text in linear time: an incremental decoder, and stop sequences over its end."""

    def __init__(self, llama: Llama, stops: tuple[str, ...]) -> None:
        self._piece = pieces(llama)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._held = max((len(stop) for stop in stops), default=1) - 1
        self._pending = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that is certain after this token; it may be empty."""
        self._pending += self._decoder.decode(self._piece(token))
        found = [at for stop in self._stops if (at := self._pending.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._pending[: min(found)]
        keep = len(self._pending) - self._held
        if keep <= 0:
            return ""
        text, self._pending = self._pending[:keep], self._pending[keep:]
        return text

    def finish(self) -> str:
        """What was held back; nothing after a stop sequence."""
        return "" if self.stopped else self._pending + self._decoder.decode(b"", final=True)


@dataclass(slots=True)
class Titles:
    """Keeps the title of a section in one piece: DSPy's stream listeners lose one of more than ten tokens."""

    _pending: str = ""

    def whole(self, text: str, *, last: bool = False) -> str:
        """What is certain not to be a part of a title; in sections only a title's line begins with a bracket."""
        self._pending += text
        line = self._pending.rfind("\n") + 1
        if last or not self._pending.startswith("[", line):
            line = len(self._pending)
        certain, self._pending = self._pending[:line], self._pending[line:]
        return certain


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


class Probabilities:
    """The log probabilities of chosen tokens, before sampling changes them."""

    def __init__(self, llama: Llama, top: int | None) -> None:
        self._llama, self._top, self._piece = llama, top, pieces(llama)
        self._found: list[lm15.TokenLogprob] = []

    def add(self, token: int) -> None:
        """Asked right after `token` was sampled: the context holds the logits that it was chosen by."""
        if self._top is None:
            return
        from dspy import lm15
        from llama_cpp import llama_get_logits_ith

        pointer = llama_get_logits_ith(self._llama.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self._llama.n_vocab(),)).astype(np.float64)
        logprobs = logits - np.logaddexp.reduce(logits)
        best = np.argsort(-logprobs, kind="stable")[: self._top]
        top = tuple(lm15.TopLogprob(**self._of(int(each), logprobs)) for each in best)
        self._found.append(lm15.TokenLogprob(**self._of(token, logprobs), top=top))

    def _of(self, token: int, logprobs: np.ndarray) -> dict[str, object]:
        raw = self._piece(token)
        return {
            "token": raw.decode(errors="replace"),
            "logprob": float(logprobs[token]),
            "bytes": tuple(raw),
            "token_id": token,
        }

    def take(self) -> tuple[lm15.TokenLogprob, ...]:
        """Those since the last time; none if nobody asked for any."""
        found, self._found = tuple(self._found), []
        return found
