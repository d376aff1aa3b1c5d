"""The time of a swap, from the request to the first token: `python -m tests.benchmarks.swap_time`.

Charlie unloads the embedding model and loads the wanted one; the raw engine closes and loads the same two.
"""

from __future__ import annotations

import os
import statistics

from core.gguf import read_header
from core.settings import Role
from tests.benchmarks.charlie import CONTEXT, prompt_of, serving, words
from tests.benchmarks.models import Models, built
from tests.benchmarks.raw import raw
from tests.benchmarks.table import Row, table

ROUNDS, ROUNDS_SHORT = 15, 2
MOST, MOST_MORE_MS = 1.10, 15.0


def rows(models: Models) -> list[Row]:
    found = []
    embedder = models.starters[Role.EMBEDDING]
    with raw() as engine:
        for name, file in models.instruct.items():
            header = read_header(file)
            threads = 1 if name == "starter" else os.cpu_count() or 1
            ours, theirs = [], []
            with serving(file) as asked:
                for seed in range(-1, ROUNDS_SHORT if models.short else ROUNDS):
                    text = words(16, seed + 2000)
                    engine.load(embedder, context=1024, threads=1, embedding=True)
                    timed = engine.swap(
                        file, prompt_of(header.chat_template or "", text), context=CONTEXT, threads=threads
                    )
                    theirs.append(timed.first_s * 1000)
                    engine.close()
                    asked.warm(Role.EMBEDDING)
                    reply = asked.reply(text, 8)
                    assert reply.stats["load_ms"] > 0
                    ours.append(reply.first_s * 1000)
            del ours[0], theirs[0]
            ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
            more = statistics.median(mine - other for mine, other in zip(ours, theirs, strict=True))
            small = name == "starter"
            found.append(
                Row(
                    "swap, request to first token ÷ raw close + load + first token", name,
                    f"{statistics.median(ours):.0f} ms", f"raw {statistics.median(theirs):.0f} ms", ratio,
                    f"≤ raw + {MOST_MORE_MS:g} ms" if small else f"≤ {MOST}",
                    more <= MOST_MORE_MS if small else ratio <= MOST,
                )
            )  # fmt: skip
    return found


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
