"""Time to first token of a warm model, compared with the raw engine's: `python -m tests.benchmarks.first_token`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from core.model_files.gguf import read_header
from tests.benchmarks.charlie import context_of, must_fit, prompt_of, serving, words
from tests.benchmarks.models import Models, built, threads
from tests.benchmarks.raw import raw
from tests.benchmarks.table import Row, attempted, shown, table

MEASURE = "time to the first token, warm, less raw"
ROUNDS, ROUNDS_SHORT = {"0.1 B": 30, "0.5 B": 15}, 2
WORDS, TOKENS = 16, 8
MAX_MS = 1.5


def rows(models: Models) -> Iterator[Row]:
    for name, file in models.instruct.items():
        yield from attempted(MEASURE, name, _of_one, name, file, models)


def _of_one(name: str, file: Path, models: Models) -> Iterator[Row]:
    must_fit(file, WORDS, TOKENS)
    template = read_header(file).chat_template or ""
    with raw() as engine, serving(file) as charlie:
        engine.load(file, context=context_of(file), threads=threads())
        pairs = []
        for seed in range(2 + (ROUNDS_SHORT if models.short else ROUNDS[name])):
            # New texts each time: a known prompt is already in the KV cache.
            theirs = engine.complete(prompt_of(template, words(WORDS, seed)), 1).first_s * 1000
            pairs.append((charlie.reply(words(WORDS, seed + 1000), TOKENS).first_s * 1000, theirs))
        engine.close()
    yield _row(name, pairs[2:])  # the first two load code and weights


def _row(name: str, pairs: list[tuple[float, float]]) -> Row:
    ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
    more = statistics.median(mine - other for mine, other in pairs)
    return Row(
        MEASURE, name, shown(ours, "ms"), f"raw {shown(theirs, 'ms')}",
        ours / theirs, f"{shown(more, 'ms')} more, ≤ {MAX_MS:g}", more / MAX_MS,
    )  # fmt: skip


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
