"""Prompt lookup, compared with one token at a time: `python -m tests.benchmarks.speculation`.

SmolLM2 quotes entries of the labelled diary, which lets a batch verify several tokens, and answers questions of general
knowledge, where there is nothing to find. Each reply is made with proposals and without, in turns.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from core.llama.calls import cut_memory
from core.llama.engine import load_as
from core.llama.instruct import Completion, InstructModel, Message
from core.model_files.gguf import read_header
from core.model_files.spec import spec_for
from core.roles import Role
from core.settings import RoleSettings, Sampling
from tests.architectures.smollm2 import smollm2
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, at_least, table

DIARY = Path(__file__).parents[2] / "optimizers" / "data" / "diary.json"
SOURCES = 6
REPLIES, REPLIES_SHORT = 8, 2
TOKENS, TOKENS_SHORT = 160, 24
ROUNDS = 15
BATCHES = (5, 8)
MIN_SHARE = 0.6
MIN_OTHER = 0.98
"""Two measurements of one thing differ by as much."""
QUOTING, OTHER, SAME = "prompt lookup ÷ ceiling of its batches", "prompt lookup ÷ without", "replies without a change"
CASE = "SmolLM2, quotes"
OPEN = (
    "Why is the sky blue?",
    "Write a short poem about the sea.",
    "How do I cook rice?",
    "Tell me a story about a fox and a crow.",
    "What is a good plan for a rainy Sunday?",
    "Explain how a bicycle stays upright.",
    "Name five rivers and what they are known for.",
    "Why do people dream?",
)
"""Questions whose answers stand nowhere in the prompt."""


def rows(models: Models) -> Iterator[Row]:
    model = load_as(InstructModel, spec_for(RoleSettings(), read_header(smollm2()), Role.INSTRUCT))
    with closing(model):
        yield from _rows(model, short=models.short)


def _rows(model: InstructModel, *, short: bool) -> Iterator[Row]:
    count, tokens = (REPLIES_SHORT, TOKENS_SHORT) if short else (REPLIES, TOKENS)
    texts = [entry["text"] for entry in json.loads(DIARY.read_text())]
    quotes = [_quoting(texts[n * SOURCES : (n + 1) * SOURCES], n % SOURCES) for n in range(count)]
    gain, same = _compared(model, quotes, tokens)
    ceilings = {size: _ceiling(model, size, 1 if short else ROUNDS) for size in BATCHES}
    for size, ceiling in ceilings.items():
        yield at_least(QUOTING, f"{CASE}, {size} tokens", (gain, ceiling), "×", "ceiling", MIN_SHARE)
    yield at_least(OTHER, CASE, (gain, 1.0), "×", "without", 1.0)
    yield at_least(SAME, f"{CASE}, temperature 0", (same, count), "replies", "of", 1.0)
    gain, same = _compared(model, [[Message("user", text)] for text in OPEN[:count]], tokens)
    yield at_least(OTHER, "SmolLM2, nothing to quote", (gain, 1.0), "×", "without", MIN_OTHER)
    yield at_least(SAME, "SmolLM2, nothing to quote, temperature 0", (same, count), "replies", "of", 1.0)


def _quoting(entries: Sequence[str], wanted: int) -> list[Message]:
    listed = "\n\n".join(f"Entry {number}: {text}" for number, text in enumerate(entries, start=1))
    return [Message("user", f"{listed}\n\nRepeat entry {wanted + 1} word by word.")]


def _compared(model: InstructModel, prompts: Sequence[Sequence[Message]], tokens: int) -> tuple[float, int]:
    """Seconds without ÷ with, of all replies together, and the number of replies with the same text."""
    seconds: dict[bool, float] = {True: 0.0, False: 0.0}
    same = 0
    for number, messages in enumerate(prompts):
        texts = {}
        _reply(model, messages, 1, enabled=False)  # the prompt, so that both begin with the same KV cache
        for enabled in (True, False) if number % 2 else (False, True):
            texts[enabled], taken = _reply(model, messages, tokens, enabled=enabled)
            seconds[enabled] += taken
        same += texts[True] == texts[False]
        print(f"{number}: {texts[True]!r}", file=sys.stderr)
    return seconds[False] / seconds[True], same


def _reply(model: InstructModel, messages: Sequence[Message], tokens: int, *, enabled: bool) -> tuple[str, float]:
    """The text, and the seconds of its decoding."""
    model.lookup.enabled = enabled
    prompt = model.fit(messages, tokens)
    *pieces, end = model.stream(prompt, Sampling(temperature=0, max_tokens=tokens))
    assert isinstance(end, Completion)
    return "".join(map(str, pieces)), (end.completion_tokens + end.reasoning_tokens) / end.tokens_per_second


def _ceiling(model: InstructModel, size: int, rounds: int) -> float:
    """How much faster a batch evaluates its tokens than one by one does, at the end of the last reply's context."""
    llama = model.llama
    tokens = llama.input_ids[llama.n_tokens - size : llama.n_tokens].tolist()
    kept = llama.n_tokens - size
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for whole in (False, True):
            cut_memory(llama, kept)
            began = perf_counter()
            for part in [tokens] if whole else [[token] for token in tokens]:
                model._eval(part[:1], part[1:])
            seconds[whole].append(perf_counter() - began)
    cut_memory(llama, kept)
    return statistics.median(seconds[False]) / statistics.median(seconds[True])


def main() -> None:
    with built(short=True) as models:
        print(table(rows(replace(models, short=False))))


if __name__ == "__main__":
    main()
