"""Tokens per second at the subscriber, compared with the raw engine: `python -m tests.benchmarks.throughput`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from core.model_files.gguf import read_header
from tests.benchmarks.charlie import SYSTEM, Reply, TimedClient, must_fit, prompt_of, serving, words
from tests.benchmarks.models import Models, built, threads
from tests.benchmarks.raw import PARTS, Raw, Timed, raw
from tests.benchmarks.table import Row, at_least, at_most, attempted, table

ROUNDS, ROUNDS_SHORT = 3, 1
WORDS = 16
SMOLLM2 = "SmolLM2"
TOKENS = {"0.1 B": 400, "0.5 B": 240, SMOLLM2: 1000}
MIN_RATIO = 0.98
SMALL = "7 M"
"""With a small model the overhead counts most."""
LONG, LONG_SHORT = 2000, 400
AGAINST_RAW = "tokens per second ÷ raw generate()"
AGAINST_CHAT = "tokens per second ÷ llama-cpp-python's chat streaming"
COST = "cost of a token, last eighth ÷ first eighth"
MAX_GROWTH = 1.15
"""Limit for the growth of a token's cost, divided by its growth in the raw engine (attention gets more expensive)."""


def rows(models: Models) -> Iterator[Row]:
    for name, file in {**models.instruct, SMOLLM2: models.smollm2}.items():
        yield from attempted(AGAINST_RAW, name, _against_generate, name, file, models)
    yield from attempted(AGAINST_CHAT, SMALL, _long, models)


@contextmanager
def _both(file: Path, completion: int) -> Iterator[tuple[Raw, TimedClient]]:
    """The raw engine and Charlie, each with the file at the model's own context length."""
    context = read_header(file).context_length
    must_fit(file, WORDS, completion, context)
    with raw() as engine, serving(file, context) as charlie:
        engine.load(file, context=context, threads=threads())
        yield engine, charlie
        engine.close()


def _against_generate(name: str, file: Path, models: Models) -> Iterator[Row]:
    template, count = read_header(file).chat_template or "", TOKENS[name] // (8 if models.short else 1)
    pairs = []
    with _both(file, TOKENS[name]) as (engine, charlie):
        for seed in range(ROUNDS_SHORT if models.short else ROUNDS):
            # In turns, so that both see the same load of the machine.
            before = engine.complete(prompt_of(template, words(WORDS, seed)), count).rate
            reply = charlie.reply(words(WORDS, seed + 100), count)
            after = engine.complete(prompt_of(template, words(WORDS, seed + 200)), count).rate
            pairs.append((reply.rate, (before + after) / 2))
    figures = sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]
    yield at_least(AGAINST_RAW, name, figures, "tok/s", "raw", MIN_RATIO)


def _long(models: Models) -> Iterator[Row]:
    """A long completion, compared with llama-cpp-python's chat streaming, and the growth of a token's cost."""
    count, text, file = LONG_SHORT if models.short else LONG, words(WORDS, 99), models.other
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    with _both(file, LONG) as (engine, charlie):
        plain = engine.complete(prompt_of(read_header(file).chat_template or "", text), count)
        reply = charlie.reply(text, count)
        chat = engine.chat(messages, count)
    case = f"{SMALL}, {count:,} tokens"
    yield at_least(AGAINST_CHAT, case, (reply.rate, chat.rate), "tok/s", "chat streaming", 1.0)
    growths = (_growth(_parts(reply)), _growth(_timed_parts(plain)))
    yield at_most(COST, case, growths, "×", f"chat streaming {_growth(_timed_parts(chat)):.2f} ×, raw", MAX_GROWTH)


def _growth(parts: list[float]) -> float:
    return parts[-1] / parts[0]


def _timed_parts(timed: Timed) -> list[float]:
    return [later - earlier for earlier, later in pairwise([timed.first_s, *timed.marks])]


def _parts(reply: Reply) -> list[float]:
    """Seconds for each eighth of the text; the words have similar lengths, so each has about as many tokens."""
    total = reply.arrived[-1][1]
    ends = [next(at for at, n in reply.arrived if n >= total * part / PARTS) for part in range(1, PARTS + 1)]
    return [later - earlier for earlier, later in pairwise([reply.first_s, *ends])]


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
