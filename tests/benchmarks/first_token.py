"""The time to the first token of a warm model, beside the raw engine's: `python -m tests.benchmarks.first_token`."""

from __future__ import annotations

import os
import statistics

from core.gguf import read_header
from tests.benchmarks.charlie import CONTEXT, prompt_of, serving, words
from tests.benchmarks.models import Models, built
from tests.benchmarks.raw import raw
from tests.benchmarks.table import Row, table

ROUNDS, ROUNDS_SHORT = 40, 4
MOST_MS = 4.0


def rows(models: Models) -> list[Row]:
    found = []
    with raw() as engine:
        for name, file in models.instruct.items():
            header = read_header(file)
            threads = 1 if name == "starter" else os.cpu_count() or 1
            with serving(file) as asked:
                engine.load(file, context=CONTEXT, threads=threads)
                ours, theirs = [], []
                for seed in range(-2, ROUNDS_SHORT if models.short else ROUNDS):
                    text = words(16, seed + 1000)
                    theirs.append(engine.complete(prompt_of(header.chat_template or "", text), 1).first_s * 1000)
                    ours.append(asked.reply(text, 8).first_s * 1000)
                engine.close()
            del ours[:2], theirs[:2]  # the first of all read code and weights in
            more = statistics.median(mine - other for mine, other in zip(ours, theirs, strict=True))
            found.append(
                Row(
                    "time to the first token, warm, less raw", name,
                    f"{statistics.median(ours):.1f} ms", f"raw {statistics.median(theirs):.1f} ms",
                    more / MOST_MS, f"≤ {MOST_MS:g} ms more", more <= MOST_MS,
                )
            )  # fmt: skip
    return found


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
