"""Tokens per second up to the subscriber, beside the raw engine: `python -m tests.benchmarks.throughput`."""

from __future__ import annotations

import os
import statistics
from itertools import pairwise
from pathlib import Path

from core.gguf import read_header
from core.settings import Role
from tests.benchmarks.charlie import SYSTEM, Asked, Reply, prompt_of, serving, words
from tests.benchmarks.models import Models, built, endless
from tests.benchmarks.raw import MARKS, Raw, Timed, raw
from tests.benchmarks.table import Row, compared, table

ROUNDS, ROUNDS_SHORT = 5, 1
TOKENS = {"starter": 2000, "0.1 B": 400, "0.5 B": 120}
LEAST = {"starter": 0.80, "0.1 B": 0.97, "0.5 B": 0.97}
LONG, LONG_SHORT = 4000, 400
FLAT = 1.15
"""How much dearer than the raw engine's the last tokens may be, if the first ones are as dear: noise, no growth."""


def rows(models: Models) -> list[Row]:
    files = models.instruct | {"starter": endless(models.starters[Role.INSTRUCT], models.folder / "endless.gguf")}
    found: list[Row] = []
    with raw() as engine:
        for name, file in files.items():
            context = read_header(file).context_length
            threads = 1 if name == "starter" else os.cpu_count() or 1
            with serving(file, context) as asked:
                engine.load(file, context=context, threads=threads)
                found.append(_beside_generate(name, file, engine, asked, models))
                if name != "0.5 B":
                    found += _long(name, file, engine, asked, models)
                engine.close()
    return found


def _beside_generate(name: str, file: Path, engine: Raw, asked: Asked, models: Models) -> Row:
    template, count = read_header(file).chat_template or "", TOKENS[name] // (8 if models.short else 1)
    ratios, ours, theirs = [], [], []
    for seed in range(ROUNDS_SHORT if models.short else ROUNDS):
        text = words(16, seed)
        # In turns, so that both have the same machine.
        before = engine.complete(prompt_of(template, text), count)
        reply = asked.reply(text, count)
        after = engine.complete(prompt_of(template, text + " "), count)
        other = (before.rate + after.rate) / 2
        ours.append(reply.stats["completion_tokens"] / reply.total_s)
        theirs.append(other)
        ratios.append(ours[-1] / other)
    least = LEAST[name]
    return Row(
        "tokens per second ÷ raw generate()",
        name,
        f"{statistics.median(ours):,.0f} tok/s",
        f"raw {statistics.median(theirs):,.0f} tok/s",
        ratio := statistics.median(ratios),
        f"≥ {least:.2f}",
        ratio >= least,
    )


def _long(name: str, file: Path, engine: Raw, asked: Asked, models: Models) -> list[Row]:
    """A long completion beside llama-cpp-python's own chat streaming, and whether a token's cost grows."""
    count, text = LONG_SHORT if models.short else LONG, words(16, 99)
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    plain = engine.complete(prompt_of(read_header(file).chat_template or "", text), count)
    reply = asked.reply(text, count)
    chat = engine.chat(messages, count)
    ours = reply.stats["completion_tokens"] / reply.total_s
    beside = compared(
        "tokens per second ÷ llama-cpp-python's chat streaming", f"{name}, {count:,} tokens",
        ours, chat.rate, "tok/s", "it", "> 1", met=ours > chat.rate,
    )  # fmt: skip
    growth = _growth(_parts(reply)) / _growth(_timed_parts(plain))
    flat = Row(
        "cost of a token, last eighth ÷ first eighth", f"{name}, {count:,} tokens",
        f"× {_growth(_parts(reply)):.2f}",
        f"raw × {_growth(_timed_parts(plain)):.2f}, chat streaming × {_growth(_timed_parts(chat)):.2f}",
        growth, f"flat (≤ {FLAT} of raw)", growth <= FLAT,
    )  # fmt: skip
    return [beside, flat]


def _growth(parts: list[float]) -> float:
    return parts[-1] / parts[0]


def _timed_parts(timed: Timed) -> list[float]:
    return [later - earlier for earlier, later in pairwise([timed.first_s, *timed.marks])]


def _parts(reply: Reply) -> list[float]:
    """Seconds for each eighth of the text; of words of about the same length, so of about as many tokens."""
    total = reply.arrived[-1][1]
    ends = [next(at for at, n in reply.arrived if n >= total * part / MARKS) for part in range(1, MARKS + 1)]
    return [later - earlier for earlier, later in pairwise([reply.first_s, *ends])]


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
