"""Tokens per second up to the subscriber, beside the raw engine: `python -m tests.benchmarks.throughput`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from core.gguf import read_header
from core.settings import Role
from tests.benchmarks.charlie import SYSTEM, Asked, Reply, prompt_of, serving, words
from tests.benchmarks.models import Models, built, threads_of
from tests.benchmarks.raw import MARKS, Raw, Timed, raw
from tests.benchmarks.table import Row, at_least, at_most, table
from tests.model_files import endless

ROUNDS, ROUNDS_SHORT = 5, 1
TOKENS = {"starter": 2000, "0.1 B": 400, "0.5 B": 120}
LEAST = {"starter": 0.80, "0.1 B": 0.97, "0.5 B": 0.97}
LONG, LONG_SHORT = 4000, 400
FLAT = 1.15
"""How many times as much a token's cost may grow as the raw engine's does, whose attention reads ever more."""


def rows(models: Models) -> list[Row]:
    files = models.instruct | {"starter": endless(models.starters[Role.INSTRUCT], models.folder / "endless.gguf")}
    found: list[Row] = []
    with raw() as engine:
        for name, file in files.items():
            context = read_header(file).context_length
            with serving(file, context) as asked:
                engine.load(file, context=context, threads=threads_of(name))
                found.append(_beside_generate(name, file, engine, asked, models))
                if name == "starter":  # where what is not the model counts for most
                    found += _long(name, file, engine, asked, models)
                engine.close()
    return found


def _beside_generate(name: str, file: Path, engine: Raw, asked: Asked, models: Models) -> Row:
    template, count = read_header(file).chat_template or "", TOKENS[name] // (8 if models.short else 1)
    pairs = []
    for seed in range(ROUNDS_SHORT if models.short else ROUNDS):
        # In turns, so that both have the same machine.
        before = engine.complete(prompt_of(template, words(16, seed)), count).rate
        reply = asked.reply(words(16, seed + 100), count)
        after = engine.complete(prompt_of(template, words(16, seed + 200)), count).rate
        pairs.append((reply.rate, (before + after) / 2))
    figures = sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]
    return at_least("tokens per second ÷ raw generate()", name, figures, "tok/s", "raw", LEAST[name])


def _long(name: str, file: Path, engine: Raw, asked: Asked, models: Models) -> list[Row]:
    """A long completion beside llama-cpp-python's own chat streaming, and whether a token's cost grows."""
    count, text = LONG_SHORT if models.short else LONG, words(16, 99)
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    plain = engine.complete(prompt_of(read_header(file).chat_template or "", text), count)
    reply = asked.reply(text, count)
    chat = engine.chat(messages, count)
    case = f"{name}, {count:,} tokens"
    beside = "tokens per second ÷ llama-cpp-python's chat streaming"
    cost = "cost of a token, last eighth ÷ first eighth"
    growths = (_growth(_parts(reply)), _growth(_timed_parts(plain)))
    return [
        at_least(beside, case, (reply.rate, chat.rate), "tok/s", "it", 1.0),
        at_most(cost, case, growths, "×", f"chat streaming {_growth(_timed_parts(chat)):.2f} ×, raw", FLAT),
    ]


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
