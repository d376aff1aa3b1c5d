"""The return to a long conversation after a swap, beside prefilling it: `python -m tests.benchmarks.return_time`.

What Charlie's return takes includes the swap: the embedding model is unloaded, the instruct model loaded.
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

HISTORY, HISTORY_SHORT = 2000, 400
ROUNDS, ROUNDS_SHORT = 9, 1
MOST = 1 / 20


def rows(models: Models) -> list[Row]:
    header = read_header(models.tenth)
    history = HISTORY_SHORT if models.short else HISTORY
    rounds = ROUNDS_SHORT if models.short else ROUNDS
    with raw() as engine:
        engine.load(models.tenth, context=CONTEXT, threads=os.cpu_count() or 1)
        engine.complete(prompt_of(header.chat_template or "", "bab"), 1)
        prefills = [
            engine.complete(prompt_of(header.chat_template or "", words(history, seed + 3000)), 1).first_s * 1000
            for seed in range(min(rounds, 3))
        ]
    ours = []
    with serving(models.tenth) as asked:
        conversation = asked.conversation()
        asked.reply(words(history, 1), 16, conversation)
        for seed in range(rounds):
            asked.warm(Role.EMBEDDING)
            reply = asked.reply(words(8, seed + 4000), 16, conversation)
            assert reply.stats["load_ms"] > 0
            assert reply.stats["reused_tokens"] >= history
            ours.append(reply.first_s * 1000)
    figure, prefill = statistics.median(ours), min(prefills)
    return [
        Row(
            f"return to a chat of {history:,} tokens after a swap ÷ prefill by the fastest peer",
            "0.1 B", f"{figure:.0f} ms", f"raw {prefill:,.0f} ms", figure / prefill, "≤ 0.05", figure / prefill <= MOST,
        )
    ]  # fmt: skip


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
