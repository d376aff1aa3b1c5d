"""A model's chat template: compiled, probed for what it supports, and rendered. Loads jinja2 when used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

from core.settings import Thinking
from core.text import one_line

if TYPE_CHECKING:
    import jinja2

Turn = dict[str, Any]
"""`role` and `content`, and `reasoning_content` where an assistant's turn has thoughts."""
MAX_REASON = 200
"""Characters of a reason; a template's own may be long."""
SYSTEM: Turn = {"role": "system", "content": "Charlie's system prompt"}
PROBE: list[Turn] = [
    {"role": role, "content": f"Charlie's turn {n}"} for n, role in enumerate(("user", "assistant", "user"))
]
TOOL = "charlie_tool"
TOOLS = [{"type": "function", "function": {"name": TOOL, "description": "", "parameters": {"properties": {}}}}]
GENERATION = re.compile(r"{%([-+]?)\s*(?:end)?generation\s*([-+]?)%}")
"""Marks what a model is trained on; only Transformers has this tag."""
PART = re.compile("""['"]type['"]: ?['"]text""")
"""A part that was rendered as a whole, in Python's notation or in JSON."""


class TemplateError(Exception):
    """A template cannot be compiled, raises, or loses a text. The message is the reason, as a part of a sentence."""


@dataclass(frozen=True, slots=True)
class Supports:
    """Whether a template has a use for a system turn, a switch for thoughts, tools, and content in parts."""

    system: bool
    thinking: bool
    tools: bool
    parts: bool


class ChatTemplate:
    """One template. Raises TemplateError if it cannot be compiled, or loses the text of messages in every form."""

    def __init__(self, source: str, bos: str = "", eos: str = "") -> None:
        self.bos, self._tokens = bos, {"bos_token": bos, "eos_token": eos}
        self._source = source
        try:
            self._template = _environment().from_string(GENERATION.sub(r"{#\1 \2#}", source))
        except Exception as error:
            raise _failed(error) from error
        self._parts, self._system = self._form()

    def render(self, turns: Sequence[Turn], *, thinking: Thinking = Thinking.AUTO) -> str:
        """The prompt that ends where the reply begins. Raises TemplateError."""
        return self._render(turns, self._parts, self._system, **_switches(self._source, thinking))

    @cached_property
    def supports(self) -> Supports:
        tried = partial(self._tried, PROBE, self._parts, self._system)
        return Supports(
            system=self._system,
            thinking=len({tried(**_switches(self._source, each)) for each in (Thinking.ON, Thinking.OFF)}) > 1,
            tools=TOOL in tried(tools=TOOLS),
            parts=self._keeps(PROBE, parts=True, system=self._system),
        )

    def _form(self) -> tuple[bool, bool]:
        """Whether content is given as parts, and the system prompt as a turn: the first form that keeps each text."""
        for parts, system in ((False, True), (True, True), (False, False), (True, False)):
            # Not every prompt has a system turn.
            if all(self._keeps(turns, parts, system) for turns in (PROBE, [SYSTEM, *PROBE])):
                return parts, system
        self._render(PROBE, parts=False, system=True)  # if it raises, that is the reason
        raise TemplateError("it leaves out the text of messages")

    def _keeps(self, turns: Sequence[Turn], parts: bool, system: bool) -> bool:
        text = self._tried(turns, parts, system)
        return all(turn["content"] in text for turn in turns) and not PART.search(text)

    def _tried(self, turns: Sequence[Turn], parts: bool, system: bool, **options: Any) -> str:
        try:
            return self._render(turns, parts, system, **options)
        except TemplateError:
            return ""

    def _render(self, turns: Sequence[Turn], parts: bool, system: bool, **options: Any) -> str:
        """What is absent is left out, never None, as by llama.cpp's common_chat_template_direct_apply_impl."""
        turns = list(turns)
        if not system and len(turns) > 1 and turns[0]["role"] == "system":
            turns[:2] = [{**turns[1], "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}]
        if parts:
            turns = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
        dates = {"datetime": _now("%b %d %Y"), "date_string": _now("%d %b %Y")}
        given = {"functions": "", **self._tokens, **dates, **options}  # Firefunction adds its functions to a text
        try:
            return self._template.render(messages=turns, add_generation_prompt=True, **given)
        except Exception as error:  # a template from elsewhere may do anything
            raise _failed(error) from error


chat_template = lru_cache(maxsize=8)(ChatTemplate)
"""Keeps templates for the next load of their models: compiling and probing take milliseconds."""


def _switches(source: str, thinking: Thinking) -> dict[str, Any]:
    """The switches for thoughts of all families, of which a template reads its own; AUTO is as in llama.cpp."""
    if thinking is Thinking.AUTO:
        return {"enable_thinking": True}
    on = thinking is Thinking.ON
    switches = {"enable_thinking": on, "thinking": on, "thinking_mode": "enabled" if on else "disabled"}
    # Hy3 thinks only when asked to, Cohere's mixtures unless asked not to, and gpt-oss always.
    least = next((effort for effort in ("no_think", "none") if re.search(f"['\"]{effort}['\"]", source)), "low")
    if not on:
        return switches | {"thinking_budget": 0, "reasoning_effort": least}
    return switches | ({"reasoning_effort": "high"} if least == "no_think" else {})


def _failed(error: Exception) -> TemplateError:
    return TemplateError(one_line(str(error), MAX_REASON).rstrip(".") or type(error).__name__)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _raise(message: str) -> None:
    raise TemplateError(message)


@cache
def _environment() -> jinja2.Environment:
    """What Transformers gives to a template, and so what templates are written for."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    loops = "jinja2.ext.loopcontrols"
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loops])
    # jinja2's own filters are for HTML. A list that was mapped is a generator here, and a list in llama.cpp.
    environment.filters.update(tojson=partial(json.dumps, ensure_ascii=False, default=list), safe=str)
    environment.globals.update(raise_exception=_raise, strftime_now=_now)
    return environment
