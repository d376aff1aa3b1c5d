"""Parts a model's thought from its answer while it streams, by the marks of its family."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path

from core.files import stamp
from core.llama.calls import Llama, pieces, tokenize

TAIL = 64
"""Tokens at a prompt's end that are looked at for a mark, where each may be one byte."""
MAX_BLANKS = 64
"""Characters; a reply that begins with more has no mark."""
CONTROL = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")
TAG = re.compile(r"<([^<>/\s]*(?:think|thought|reason)[^<>/\s]*)>")


@dataclass(frozen=True, slots=True)
class Thought:
    """A piece of a thought."""

    text: str


@dataclass(frozen=True, slots=True)
class Family:
    """What models of one family write around a thought, and around the answer."""

    opens: str
    closes: str
    answer: str = ""
    ends: str = ""
    lead: str = ""
    """Stands before `opens` and `answer`, and at a prompt's end."""

    @property
    def closing(self) -> str:
        """What ends a thought and begins the answer."""
        return f"{self.closes}{self.lead}{self.answer}" if self.answer else f"{self.closes}\n\n"


FAMILIES = (
    Family("<think>", "</think>", "<response>", "</response>"),  # Granite 3.3
    Family("<think>", "</think>"),  # Qwen, DeepSeek, GLM, Nemotron, SmolLM3 and many others
    Family("<seed:think>", "</seed:think>"),  # Seed-OSS
    Family("<think:opensource>", "</think:opensource>"),  # Hy3
    Family("[THINK]", "[/THINK]"),  # Magistral, Ministral
    Family("<|channel>thought", "<channel|>"),  # Gemma 4
    Family("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Family("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),  # Command R7B
    Family("<|START_THINKING|>", "<|END_THINKING|>", "<|START_TEXT|>", "<|END_TEXT|>"),  # Cohere's mixtures
    # Kimi K3
    Family("<|open|>think<|sep|>", "<|close|>think<|sep|>", "<|open|>response<|sep|>", "<|close|>response<|sep|>"),
    Family("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", ends="[END FINAL RESPONSE]"),  # Apriel
    Family("<|think|>", "<|end|>", "<|content|>", "<|end|>", "<|begin|>assistant"),  # Solar
    Family("to=self<|message|>", "<|eom|>", "to=user<|message|>", "<|eot|>", "<|start|>assistant"),  # Muse
    *(
        Family(opens, "<|end|>", "<|channel|>final<|message|>", "<|end|>", "<|start|>assistant")  # gpt-oss
        for opens in ("<|channel|>commentary<|message|>", "<|channel|>analysis<|message|>")
    ),
)
"""After llama.cpp's common/parsers. Of two with the same mark the last one counts; see `families_of`."""


@lru_cache(maxsize=8)
def families_of(template: str) -> tuple[Family, ...]:
    """All families, at the end those that a chat template shows, at the beginning its own tags."""
    own = [Family(f"<{name}>", f"</{name}>") for name in sorted(set(TAG.findall(template))) if f"</{name}>" in template]
    # A mark that is plain text counts only where the template shows it: it may begin any reply.
    known = [each for each in FAMILIES if each.opens[0] in "<[" or each.opens in template]

    def shown(family: Family) -> tuple[bool, bool]:
        # Some templates have tools whose responses are tagged as Granite's answers.
        return family.opens in template, family.answer.startswith("<|") and family.answer in template

    return (*own, *sorted(known, key=shown))


_MARKS: dict[tuple[str, object, str], dict[int, bytes]] = {}
"""Control tokens in marks, by model file and template: tokenizing them at each load would delay a swap."""


def can_think(template: str) -> bool:
    """Whether a chat template has a mark of a thought."""
    return any(family.opens in template for family in families_of(template))


def pieces_with_marks(llama: Llama, template: str) -> Callable[[int], bytes]:
    """A function from a token to its bytes, also of the control tokens in marks, which llama.cpp leaves out."""
    file = (llama.model_path, stamp(Path(llama.model_path)), template)
    if file not in _MARKS:
        marks = [mark for each in families_of(template) for mark in (each.opens, each.closes, each.closing, each.ends)]
        texts = {text for mark in marks for text in CONTROL.findall(mark)}
        found = ((tokenize(llama, text, add_special=False, parse_special=True), text) for text in texts)
        _MARKS[file] = {tokens[0]: text.encode() for tokens, text in found if len(tokens) == 1}
    return pieces(llama, _MARKS[file])


class Part(Enum):
    SEAM = "seam"
    """Before and between thoughts and answer: blanks and marks."""
    THOUGHT = "thought"
    ANSWER = "answer"


class Thoughts:
    """Parts one reply. `part` is the part that the next piece continues."""

    def __init__(self, template: str, prompt: str = "", stops: tuple[str, ...] = ()) -> None:
        """A reply to `prompt`, whose end may have opened a part already. The answer ends before any of `stops`."""
        self.part = Part.SEAM
        self.marked = False
        """Whether there was a mark of a thought or an answer."""
        self.done = False
        """Whether the answer has ended; nothing follows."""
        self._pending = ""
        self._until: tuple[str, ...] = ()
        self._stops = stops
        self._leading = True
        """Whether only blanks of this part have come."""
        self._family: Family | None = None
        self._marks: dict[str, tuple[Part, Family]] = {}
        for each in families_of(template):
            self._marks |= {each.lead: (Part.SEAM, each), each.answer: (Part.ANSWER, each)}
            self._marks[each.opens] = (Part.THOUGHT, each)
        del self._marks[""]
        self._begin(max((mark for mark in self._marks if prompt.rstrip().endswith(mark)), key=len, default=""))

    @property
    def to_answer(self) -> str:
        """What must follow for the answer to begin at once."""
        if self._family is None or self.part is Part.ANSWER:
            return ""
        return self._family.closing if self.part is Part.THOUGHT else self._family.answer

    def split(self, text: str, *, last: bool = False) -> Iterator[str | Thought]:
        """What is certain of thought and answer after this piece, without marks and the blanks before each."""
        if self.part is Part.ANSWER and not (self._until or self._leading):  # of most tokens, so without delay
            if text:
                yield text
            return
        self._pending += text
        while not self.done:
            if self.part is Part.SEAM:
                if not self._pass_seam(last=last):
                    return
                continue
            found = [(at, mark) for mark in self._until if (at := self._pending.find(mark)) >= 0]
            held = 0 if last else max((_overlap(self._pending, mark) for mark in self._until), default=0)
            at, mark = min(found, default=(len(self._pending) - held, ""))
            kept, self._pending = self._pending[:at], self._pending[at + len(mark) :]
            if self._leading:
                kept = kept.lstrip()
            if kept:
                self._leading = False
                yield Thought(kept) if self.part is Part.THOUGHT else kept
            if not mark:
                return
            if self.part is Part.ANSWER:
                self.done = True
            else:
                self.part = Part.SEAM

    def _pass_seam(self, *, last: bool) -> bool:
        """Take one mark, or find that the answer begins without one; False while either is possible."""
        beginning = self._pending.lstrip()
        blanks = len(self._pending) - len(beginning)
        longer = (mark for mark in self._marks if len(mark) > len(beginning))
        if not last and blanks <= MAX_BLANKS and any(mark.startswith(beginning) for mark in longer):
            return False
        mark = max((mark for mark in self._marks if beginning.startswith(mark)), key=len, default="")
        if mark:
            self._pending = beginning.removeprefix(mark)
            self._begin(mark)
        else:
            self._enter(Part.ANSWER)
        return True

    def _begin(self, mark: str) -> None:
        if mark:
            part, self._family = self._marks[mark]
            self._enter(part)
            if part is Part.THOUGHT and self.marked:  # another one, after the first
                self._pending, self._leading = f"\n\n{self._pending}", False
            self.marked |= part is not Part.SEAM

    def _enter(self, part: Part) -> None:
        self.part, self._leading = part, True
        closes, ends = (self._family.closes, self._family.ends) if self._family else ("", "")
        self._until = (closes,) if part is Part.THOUGHT else tuple(filter(None, (ends, *self._stops)))


def thoughts_after(
    piece: Callable[[int], bytes], template: str, tokens: Sequence[int], stops: tuple[str, ...] = ()
) -> Thoughts:
    """Parts the reply to a prompt of these tokens."""
    return Thoughts(template, b"".join(map(piece, tokens[-TAIL:])).decode("utf-8", "replace"), stops)


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of `text` may be the beginning of `mark`."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if text.endswith(mark[:size])), 0)
