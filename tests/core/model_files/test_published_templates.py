"""Every template that llama.cpp collects, over five turns, with thoughts and tools."""

from __future__ import annotations

from functools import cache
from itertools import product
from os.path import commonprefix
from pathlib import Path
from typing import Any

import pytest

from core.llama.thoughts import Part, Thoughts, can_think
from core.model_files.chat_template import TOOLS, ChatTemplate, Turn, _now
from core.settings import Thinking
from tests.llama_source import llama_renders, published_templates

pytestmark = pytest.mark.slow

TURNS: list[Turn] = [{"role": "system", "content": "Be kind to Mira."}]
for number in range(1, 6):
    answer = {"content": f"Answer {number} to Mira.", "reasoning_content": f"Thought {number} about Mira."}
    TURNS += [{"role": "user", "content": f"Question {number} of Mira?"}, {"role": "assistant", **answer}]
OPENINGS = ("think", "<|channel>thought", "here are my reasoning steps", "<|chatbot_token|>")
"""What may stand before a new reply alone: a thought, opened or empty; Command R+ repeats its instructions."""
OPTIONS: list[dict[str, Any]] = [
    {"enable_thinking": thinking, **tools} for thinking, tools in product((True, False), ({}, {"tools": TOOLS}))
]


@pytest.fixture(scope="module")
def published() -> dict[str, Path]:
    return published_templates()


@cache
def template_of(file: Path) -> ChatTemplate:
    return ChatTemplate(file.read_text("utf-8"), "<s>", "</s>")


def rendered(template: ChatTemplate, turns: list[Turn], options: dict[str, Any]) -> str:
    return template._render(turns, template._parts, template._system, **options)


def test_every_published_template_renders_a_conversation(published: dict[str, Path]) -> None:
    assert len(published) >= 70
    for (name, file), options in product(published.items(), OPTIONS):
        template = template_of(file)
        ends, between = set(), set()
        for count in range(2, len(TURNS), 2):
            turns = TURNS[:count]
            text = rendered(template, turns, options)
            assert [turn["content"] for turn in turns if turn["content"] not in text] == [], name
            ends.add(text.rpartition(turns[-1]["content"])[2])
            if count > 2:
                asked, answered = turns[-3]["content"], turns[-2]["content"]
                between.add(text.partition(asked)[2].partition(answered)[0])
        # It ends as it goes on before a reply of the history, apart from a thought that the reply begins with.
        (end,) = ends
        shared = commonprefix([end, *between])  # noqa: RUF071  # of texts, not of paths
        assert shared.strip(" \n<"), name
        rest = end.removeprefix(shared).strip().lower()
        assert not rest or any(opening in rest for opening in OPENINGS), name


def test_every_published_template_renders_as_in_llama_cpp(published: dict[str, Path]) -> None:
    turns = TURNS[:-1]
    for (name, file), options in product(published.items(), OPTIONS):
        template = template_of(file)
        sent = turns
        if not template.supports.system:
            sent = [{**turns[1], "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}, *turns[2:]]
        dates = {"datetime": _now("%b %d %Y"), "date_string": _now("%d %b %Y")}
        tokens = {"bos_token": "<s>", "eos_token": "</s>"}
        theirs = llama_renders(file, {"messages": sent, "add_generation_prompt": True, **dates, **tokens, **options})
        assert rendered(template, turns, options) == theirs, name


def test_what_the_published_templates_support(published: dict[str, Path]) -> None:
    supports = {name: template_of(file).supports for name, file in published.items()}
    assert [name for name, found in supports.items() if not found.system] == ["google-gemma-2-2b-it"]
    assert not supports["microsoft-Phi-3.5-mini-instruct"].tools
    for name, thinking, parts in (
        ("Qwen-Qwen3-0.6B", True, False),
        ("Qwen3.5-4B", True, True),
        ("google-gemma-4-31B-it", True, True),
        ("Qwen-Qwen2.5-7B-Instruct", False, False),
    ):
        assert (supports[name].thinking, supports[name].parts, supports[name].tools) == (thinking, parts, True), name


def test_thinking_is_switched_in_every_published_template(published: dict[str, Path]) -> None:
    parts: dict[str, list[Part]] = {}
    for name, file in published.items():
        source, template = file.read_text("utf-8"), template_of(file)
        prompts = {each: template.render(TURNS[:4], thinking=each) for each in Thinking}
        parts[name] = [Thoughts(source, prompts[each]).part for each in (Thinking.AUTO, Thinking.ON, Thinking.OFF)]
        closed = prompts[Thinking.OFF] + Thoughts(source, prompts[Thinking.OFF]).to_answer
        assert Thoughts(source, closed).part is not Part.THOUGHT, name
        if Part.THOUGHT in parts[name] and name != "Kimi-K3":  # whose marks are composed
            assert can_think(source), name
    thought, seam = Part.THOUGHT, Part.SEAM
    for name, expected in (
        ("Qwen-Qwen3-0.6B", [seam, seam, seam]),
        ("Qwen3.5-4B", [thought, thought, seam]),
        ("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", [thought, thought, seam]),
        ("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", [thought, thought, thought]),
        ("Cohere2MoE", [thought, thought, seam]),
        ("Kimi-K3", [thought, thought, Part.ANSWER]),
        ("tencent-Hy3", [seam, thought, seam]),
        ("MiniMax-M3", [seam, thought, seam]),
        ("openai-gpt-oss-120b", [seam, seam, seam]),
    ):
        assert parts[name] == expected, name
    supports = {name for name, file in published.items() if template_of(file).supports.thinking}
    assert {"openai-gpt-oss-120b", "ByteDance-Seed-OSS", "google-gemma-4-31B-it", "GLM-4.6"} <= supports
