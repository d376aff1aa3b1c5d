"""From messages to the tokens of a prompt: the chat template, what does not fit, and text that looks like control."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.native import pieces, tokenize, vocab_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_cpp import Llama

PLAIN = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""For a model whose header has no chat template."""
LONGEST_TOKEN = 32
"""Characters; a text longer than this times the room is cut before it is even tokenized."""
STEP = 8
"""In long conversations that many messages are left out at a time, so the prompt's beginning, and with it the KV
cache, stays the same for some turns."""
SLICE = 1 << 14
SPLIT_CONTROL = "\u200b"
_CONTROLS: dict[tuple[str, int, int], re.Pattern[str] | None] = {}
"""What looks like a control token, by model file: to go through a large vocabulary at each load would delay a swap."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """A prompt that fits the context together with its completion."""

    tokens: list[int]
    left_out: int
    """Messages that are outside the context, the oldest ones."""
    truncated: bool = False
    """Whether the last message (or the system prompt) was cut because it alone is too long."""


class ChatPrompt:
    """Renders and fits prompts for one loaded model."""

    def __init__(self, llama: Llama, template: str | None) -> None:
        self._llama = llama
        stat = Path(llama.model_path).stat()
        self._file = (llama.model_path, stat.st_size, stat.st_mtime_ns)
        self._bos = self._token_text(llama.token_bos())
        self._eos = self._token_text(llama.token_eos())
        self._formatter = _formatter(template or PLAIN, self._eos, self._bos)

    def fit(self, messages: Sequence[Message], room: int) -> FittedPrompt:
        """The tokens of the newest messages that fit into `room` tokens.

        The system prompt and the last message always stay; too long by itself, the system prompt loses its end
        and the last message its beginning. Raises ValueError for no messages.
        """
        if not messages:
            raise ValueError("a prompt needs at least one message")
        system = [message for message in messages[:1] if message.role == "system" and len(messages) > 1]
        turns = messages[len(system) :]
        system, cut_system = self._cut(system, room // 2)
        first = self._first_that_fits(system, turns, room)
        tokens = self._tokens([*system, *turns[first:]])
        while len(tokens) > room and first < len(turns) - 1:
            first = self._next_user(turns, first + 1)
            tokens = self._tokens([*system, *turns[first:]])
        if len(tokens) <= room:
            return FittedPrompt(tokens, first, truncated=cut_system)
        return FittedPrompt(self._cut_last(system, turns[-1], room), first, truncated=True)

    def _first_that_fits(self, system: list[Message], turns: Sequence[Message], room: int) -> int:
        """Where the turns begin that fit by their own tokens, counted from the end; nothing older is looked at."""
        around = self._around
        used = around * 2 + sum(self.count(message.content) for message in system)
        first = len(turns) - 1
        for index in range(len(turns) - 1, -1, -1):
            used += around + self.count(turns[index].content[-room * LONGEST_TOKEN :])
            if used > room and index < len(turns) - 1:
                break
            first = index
        if first and len(turns) - first > 2 * STEP:
            first = -(-first // STEP) * STEP
        return self._next_user(turns, first) if first else 0

    @cached_property
    def _around(self) -> int:
        """Tokens that the template puts around a turn."""
        return len(self._tokens([Message("user", ""), Message("assistant", "")])) // 2

    def _next_user(self, turns: Sequence[Message], index: int) -> int:
        """Templates want a user's turn first."""
        return next((n for n in range(index, len(turns)) if turns[n].role == "user"), len(turns) - 1)

    def _cut(self, system: list[Message], room: int) -> tuple[list[Message], bool]:
        if not system or len(system[0].content) <= room:
            return system, False
        text = system[0].content[: room * LONGEST_TOKEN]
        tokens = tokenize(self._llama, text, add_special=False, parse_special=False)
        if len(tokens) <= room:
            return system, False
        return [replace(system[0], content=self._text(tokens[:room]))], True

    def _cut_last(self, system: list[Message], last: Message, room: int) -> list[int]:
        around = len(self._tokens([*system, replace(last, content="")]))
        content = tokenize(self._llama, last.content[-room * LONGEST_TOKEN :], add_special=False, parse_special=False)
        keep = max(0, room - around)
        while True:
            tail = content[len(content) - keep :] if keep else []
            tokens = self._tokens([*system, replace(last, content=self._text(tail))])
            if len(tokens) <= room or keep == 0:
                return tokens[-room:]
            # Tokenized anew, a cut text may take more tokens than before.
            keep = max(0, keep - max(8, len(tokens) - room))

    def _text(self, tokens: Sequence[int]) -> str:
        piece = pieces(self._llama)
        return b"".join(piece(token) for token in tokens).decode("utf-8", "ignore")

    def count(self, text: str) -> int:
        """Tokens of a text that stands in a message.

        A long text is counted in slices, each of which may add a token: llama.cpp's time for letters that are
        not in the vocabulary grows with the square of the text.
        """
        slices = (text[at : at + SLICE] for at in range(0, len(text), SLICE))
        return sum(len(tokenize(self._llama, each, add_special=False, parse_special=False)) for each in slices)

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        text = self._render([replace(message, content=self._harmless(message.content)) for message in messages])
        starts_itself = bool(self._bos) and text.startswith(self._bos)
        return tokenize(self._llama, text, add_special=not starts_itself, parse_special=True)

    def _render(self, messages: Sequence[Message]) -> str:
        """The template's text; templates that refuse a system turn get it inside the first user turn."""
        import jinja2

        try:
            return self._format(self._formatter, messages)
        except (jinja2.TemplateError, ValueError, TypeError):
            merged = list(messages)
            if len(merged) > 1 and merged[0].role == "system":
                merged[:2] = [replace(merged[1], content=f"{merged[0].content}\n\n{merged[1].content}")]
        try:
            return self._format(self._formatter, merged)
        except (jinja2.TemplateError, ValueError, TypeError):
            return self._format(_formatter(PLAIN, self._eos, self._bos), messages)

    def _format(self, formatter: Any, messages: Sequence[Message]) -> str:
        rendered = formatter(messages=[{"role": each.role, "content": each.content} for each in messages])
        return str(rendered.prompt)

    def _harmless(self, text: str) -> str:
        """A text that cannot end a turn: control tokens that somebody typed are split by a zero-width space."""
        if self._controls is None:
            return text
        return self._controls.sub(lambda found: found[0][0] + SPLIT_CONTROL + found[0][1:], text)

    @property
    def _controls(self) -> re.Pattern[str] | None:
        if self._file not in _CONTROLS:
            _CONTROLS[self._file] = self._find_controls()
        return _CONTROLS[self._file]

    def _find_controls(self) -> re.Pattern[str] | None:
        import llama_cpp

        vocab = vocab_of(self._llama)
        texts = {
            self._token_text(token)
            for token in range(self._llama.n_vocab())
            if llama_cpp.llama_vocab_is_control(vocab, token)
        }
        longest_first = sorted((text for text in texts if len(text) > 1), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def _token_text(self, token: int) -> str:
        import llama_cpp

        if token < 0:
            return ""
        text: bytes = llama_cpp.llama_vocab_get_text(vocab_of(self._llama), token)
        return text.decode("utf-8", "replace")


@lru_cache(maxsize=8)
def _formatter(template: str, eos: str, bos: str) -> Any:
    """A compiled template; it is the same at the next load of the model, and compiling takes milliseconds."""
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    return Jinja2ChatFormatter(template, eos_token=eos, bos_token=bos)
