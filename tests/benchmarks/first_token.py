"""The time to the first token of a warm model, beside the raw engine's: `python -m tests.benchmarks.first_token`."""

from __future__ import annotations

import statistics

from core.gguf import read_header
from tests.benchmarks.charlie import context_of, prompt_of, serving, words
from tests.benchmarks.models import Models, built, threads_of
from tests.benchmarks.raw import raw
from tests.benchmarks.table import Row, shown, table

ROUNDS, ROUNDS_SHORT = {"starter": 60, "0.1 B": 30, "0.5 B": 15}, 2
MOST_MS = 4.0


def rows(models: Models) -> list[Row]:
    found = []
    with raw() as engine:
        for name, file in models.instruct.items():
            template = read_header(file).chat_template or ""
            with serving(file) as asked:
                engine.load(file, context=context_of(file), threads=threads_of(name))
                pairs = []
                for seed in range(2 + (ROUNDS_SHORT if models.short else ROUNDS[name])):
                    # Other texts for each: a prompt that was read before is not read again.
                    theirs = engine.complete(prompt_of(template, words(16, seed)), 1).first_s * 1000
                    pairs.append((asked.reply(words(16, seed + 1000), 8).first_s * 1000, theirs))
                engine.close()
            found.append(_row(name, pairs[2:]))  # the first of all read code and weights in
    return found


def _row(name: str, pairs: list[tuple[float, float]]) -> Row:
    ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
    more = statistics.median(mine - other for mine, other in pairs)
    return Row(
        "time to the first token, warm, less raw", name, shown(ours, "ms"), f"raw {shown(theirs, 'ms')}",
        ours / theirs, f"{shown(more, 'ms')} more, ≤ {MOST_MS:g}", more / MOST_MS,
    )  # fmt: skip


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
