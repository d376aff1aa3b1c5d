"""From messages to the tokens of a prompt: chat template, fitting to the context, escaped control tokens."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from core.files import stamp
from core.llama.calls import Llama, llama_cpp, pieces, tokenize, vocab_of
from core.llama.thoughts import Part, Thoughts
from core.model_files.chat_template import PROBE, SYSTEM, ChatTemplate, TemplateError, Turn, chat_template
from core.settings import Thinking

log = logging.getLogger(__name__)

PLAIN = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""For a model whose header has no chat template, or one that fails."""
PLAIN_STOPS = ("\nuser:", "\nassistant:", "\nsystem:")
"""What a model writes when it goes on with a conversation of the plain form."""
LONGEST_TOKEN = 32
"""Characters; a text longer than `room` times this is cut before it is tokenized."""
USUAL_TOKEN = 8
"""Characters; texts that are longer than `room` times this are counted turn by turn."""
STEP = 8
"""Long conversations lose this many messages at a time, so that the prompt's beginning, and thus the KV cache, stays
valid for some turns."""
SLICE = 1 << 14
SPLIT_CONTROL = "\u200b"
_CONTROLS: dict[tuple[str, object, str], re.Pattern[str]] = {}
"""Matches control tokens, by model file and template: searching a large vocabulary at each load would delay a swap."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str
    reasoning: str = ""
    """An assistant's thoughts, which some templates want back."""


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """A prompt that fits the context together with its completion."""

    tokens: list[int]
    left_out: int
    """The number of oldest messages that do not fit the context."""
    truncated: bool = False
    """Whether the last message or the system prompt was cut because it is too long by itself."""
    stops: tuple[str, ...] = ()
    """The reply ends before any of these."""
    note: str = ""
    """Why the model's own template was not used, in one sentence; empty if it was, or if there is none."""


class ChatPrompt:
    """Renders and fits prompts for one loaded model."""

    def __init__(self, llama: Llama, template: str | None, *, marked_by: str = "") -> None:
        """`marked_by` is another template, whose marks are split as well."""
        self._llama = llama
        self._source = template or PLAIN
        self._marked_by = marked_by or template or ""
        self._stops = () if template else PLAIN_STOPS
        self._thinking = Thinking.OFF
        """Of the prompt that is being made."""
        self._file = (llama.model_path, stamp(Path(llama.model_path)), self._marked_by)

    def fit(self, messages: Sequence[Message], room: int, thinking: Thinking = Thinking.OFF) -> FittedPrompt:
        """The tokens of the newest messages that fit into `room` tokens.

        The system prompt and the last message always stay; if one is too long by itself, the system prompt is cut at
        its end and the last message at its beginning. A template that fails is replaced by the plain form, with a
        note. Raises ValueError for no messages.
        """
        if not messages:
            raise ValueError("a prompt needs at least one message")
        self._thinking = thinking
        try:
            return self._fit(messages, room)
        except TemplateError as error:
            note = f"The model's chat template could not be used, so the prompt has a plain form: {error}."
            _log_once("%s: %s", Path(self._llama.model_path).name, note)
            plain = ChatPrompt(self._llama, None, marked_by=self._marked_by)
            return replace(plain.fit(messages, room), note=note)

    def _fit(self, messages: Sequence[Message], room: int) -> FittedPrompt:
        system = [message for message in messages[:1] if message.role == "system" and len(messages) > 1]
        turns = messages[len(system) :]
        system, cut_system = self._cut(system, room // 2)
        if sum(len(each.content) for each in messages) <= room * USUAL_TOKEN:  # it may fit as a whole
            tokens = self._tokens([*system, *turns])
            if len(tokens) <= room:
                return FittedPrompt(tokens, 0, cut_system, self._stops)
        first = self._first_that_fits(system, turns, room)
        tokens = self._tokens([*system, *turns[first:]])
        while len(tokens) > room and first < len(turns) - 1:
            first = self._next_user(turns, first + 1)
            tokens = self._tokens([*system, *turns[first:]])
        if len(tokens) <= room:
            return FittedPrompt(tokens, first, cut_system, self._stops)
        return FittedPrompt(self._cut_last(system, turns[-1], room), first, True, self._stops)

    def _first_that_fits(self, system: list[Message], turns: Sequence[Message], room: int) -> int:
        """Index of the first turn that fits, by the tokens of each turn, counted from the end."""
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
        """Tokens that the template adds to a turn."""
        return len(self._tokens([Message("user", "a"), Message("assistant", "a")])) // 2

    def _next_user(self, turns: Sequence[Message], index: int) -> int:
        """Index of the next user turn: templates require one first."""
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
            # A cut text may take more tokens than before.
            keep = max(0, keep - max(8, len(tokens) - room))

    def _text(self, tokens: Sequence[int]) -> str:
        piece = pieces(self._llama)
        return b"".join(piece(token) for token in tokens).decode("utf-8", "ignore")

    def count(self, text: str) -> int:
        """Number of tokens of a text in a message.

        A long text is counted in slices, each of which may add a token: llama.cpp's time for letters outside the
        vocabulary is quadratic.
        """
        slices = (text[at : at + SLICE] for at in range(0, len(text), SLICE))
        return sum(len(tokenize(self._llama, each, add_special=False, parse_special=False)) for each in slices)

    def _tokens(self, messages: Sequence[Message]) -> list[int]:
        template = self._compiled(self._source)
        text = template.render([self._turn(each) for each in _joined(messages)], thinking=self._thinking)
        if self._thinking is Thinking.OFF and (opened := Thoughts(self._source, text)).part is Part.THOUGHT:
            text += opened.to_answer  # some templates have no switch
        special = not (template.bos and text.startswith(template.bos))
        tokens = tokenize(self._llama, text, add_special=special, parse_special=True)
        if special and llama_cpp.llama_vocab_get_add_eos(vocab_of(self._llama)):
            tokens.pop()  # it would end the reply before it begins
        return tokens

    def _compiled(self, source: str) -> ChatTemplate:
        """Raises TemplateError."""
        llama = self._llama
        return chat_template(source, self._token_text(llama.token_bos()), self._token_text(llama.token_eos()))

    def _turn(self, message: Message) -> Turn:
        turn: Turn = {"role": message.role, "content": self.escaped(message.content)}
        return turn | ({"reasoning_content": self.escaped(message.reasoning)} if message.reasoning else {})

    def escaped(self, text: str) -> str:
        """The text with control tokens split by a zero-width space, so that a typed one cannot end a turn."""
        return self._controls.sub(rf"\g<0>{SPLIT_CONTROL}", text)

    @property
    def _controls(self) -> re.Pattern[str]:
        if self._file not in _CONTROLS:
            _CONTROLS[self._file] = self._find_controls()
        return _CONTROLS[self._file]

    def _find_controls(self) -> re.Pattern[str]:
        """Matches the first character of what the tokenizer would take for a control token.

        It takes user-defined tokens, too. Of these only the template's are marks: others are words or blanks.
        """
        vocab, control = vocab_of(self._llama), llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        either = control | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
        marks = self._marked_by
        with suppress(TemplateError):
            # Some are composed, such as `<|` + role + `|>`.
            marks += self._compiled(marks).render([SYSTEM, *PROBE])
        attributes = llama_cpp.llama_vocab_get_attr  # looked up once: there are many tokens
        kinds = ((token, attributes(vocab, token)) for token in range(self._llama.n_vocab()))
        texts = {(self._token_text(token), bool(kind & control)) for token, kind in kinds if kind & either}
        split = {text for text, special in texts if len(text.strip()) > 1 and (special or text in marks)}
        firsts = "|".join(f"{re.escape(text[0])}(?={re.escape(text[1:])})" for text in split)
        return re.compile(firsts or "(?!)")

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        text: bytes = llama_cpp.llama_vocab_get_text(vocab_of(self._llama), token)
        return text.decode("utf-8", "replace")


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Neighbouring turns of one role as one, and without empty replies: many templates want the roles in turn."""
    turns: list[Message] = []
    for message in messages:
        if message.role == "assistant" and not message.content:
            continue
        if turns and turns[-1].role == message.role:
            before = turns.pop()
            reasoning = f"{before.reasoning}\n\n{message.reasoning}".strip()
            message = Message(message.role, f"{before.content}\n\n{message.content}", reasoning)
        turns.append(message)
    return turns


_log_once = lru_cache(maxsize=64)(log.warning)
"""A template fails in the same way for each reply."""
