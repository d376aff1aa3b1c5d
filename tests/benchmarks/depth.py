"""What a token costs after 8,000 others, beside the raw engine: `python -m tests.benchmarks.depth`."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from core.model_files.gguf import read_header
from tests.benchmarks.charlie import must_fit, prompt_of, serving, words
from tests.benchmarks.models import CONTEXT, Models, built, threads
from tests.benchmarks.raw import raw
from tests.benchmarks.table import Row, at_most, attempted, table

ROUNDS, ROUNDS_SHORT = 3, 1
WORDS, WORDS_SHORT = 7800, 200
TOKENS = {"7 M": 200, "0.1 B": 100}
COST = "cost of a token after 8,000 ÷ raw generate()'s"
LIMIT = 1.02


def rows(models: Models) -> Iterator[Row]:
    for name, file in {"7 M": models.other, "0.1 B": models.tenth}.items():
        yield from attempted(COST, name, _deep, name, file, models)


def _deep(name: str, file: Path, models: Models) -> Iterator[Row]:
    must_fit(file, WORDS, TOKENS[name], CONTEXT)
    text, count = words(WORDS_SHORT if models.short else WORDS, 7), TOKENS[name] // (10 if models.short else 1)
    prompt, costs = prompt_of(read_header(file).chat_template or "", text), []
    with raw() as engine, serving(file, CONTEXT) as charlie:
        engine.load(file, context=CONTEXT, threads=threads())
        # The prompt is evaluated once; then each finds it in its KV cache.
        engine.complete(prompt, 1)
        charlie.reply(text, 1)
        for _ in range(ROUNDS_SHORT if models.short else ROUNDS):
            before = engine.complete(prompt, count)
            reply = charlie.reply(text, count)
            after = engine.complete(prompt, count)
            costs.append(
                (
                    reply.arrived[-1][0] - reply.first_s,
                    statistics.mean(each.total_s - each.first_s for each in (before, after)),
                )
            )
        engine.close()
    ours, theirs = sorted(costs, key=lambda pair: pair[0] / pair[1])[len(costs) // 2]
    yield at_most(COST, name, (ours / (count - 1) * 1000, theirs / (count - 1) * 1000), "ms", "raw", LIMIT)


def main() -> None:
    with built(short="--short" in sys.argv) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
