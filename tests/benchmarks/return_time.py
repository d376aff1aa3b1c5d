"""Return to a long conversation after a swap, compared with its prefill: `python -m tests.benchmarks.return_time`.

Charlie's time includes the swap: it unloads the embedding model and loads the instruct model.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from core.model_files.gguf import read_header
from core.roles import Role
from tests.benchmarks.charlie import CONTEXT, must_fit, prompt_of, serving, words
from tests.benchmarks.models import Models, built, threads
from tests.benchmarks.peers import PEERS, installed
from tests.benchmarks.raw import raw
from tests.benchmarks.table import Row, at_most, table

HISTORY, HISTORY_SHORT = 2000, 400
ROUNDS, ROUNDS_SHORT = 9, 1
PREFILLS = 3
TOKENS, TEMPLATE_TOKENS = 16, 32
"""Tokens of each reply, and the most that the chat template adds to a turn."""
MAX_RATIO = 1 / 20


def rows(models: Models) -> list[Row]:
    must_fit(models.tenth, HISTORY, TOKENS + ROUNDS * (TEMPLATE_TOKENS + TOKENS))
    history = HISTORY_SHORT if models.short else HISTORY
    name, prefill = _fastest_prefill(models, history)
    ours = []
    with serving(models.tenth) as charlie:
        conversation = charlie.conversation()
        charlie.reply(words(history, 1), TOKENS, conversation)
        for seed in range(ROUNDS_SHORT if models.short else ROUNDS):
            charlie.warm(Role.EMBEDDING)
            reply = charlie.reply(words(1, seed + 4000), TOKENS, conversation)
            assert reply.stats["load_ms"] > 0
            assert reply.stats["reused_tokens"] >= history
            ours.append(reply.first_s * 1000)
    measure = f"return to a chat of {history:,} tokens after a swap ÷ prefill by the fastest peer"
    return [at_most(measure, "0.1 B", (statistics.median(ours), prefill), "ms", name, MAX_RATIO)]


def _fastest_prefill(models: Models, history: int) -> tuple[str, float]:
    """The program with the fastest prefill of such a prompt, its model warm, and its best time in milliseconds."""
    template = read_header(models.tenth).chat_template or ""
    took: dict[str, list[float]] = {}
    with ExitStack() as stack:
        engine = stack.enter_context(raw())
        engine.load(models.tenth, context=CONTEXT, threads=threads())
        engine.complete(prompt_of(template, "bab"), 1)
        peers = [stack.enter_context(PEERS[each]([models.tenth], CONTEXT, threads())) for each in installed()]
        for peer in peers:
            peer.complete(models.tenth, prompt_of(template, "bab"), 1)
        for seed in range(1 if models.short else PREFILLS):
            prompt = prompt_of(template, words(history, seed + 3000))
            took.setdefault("raw", []).append(engine.complete(prompt, 1).first_s * 1000)
            for peer in peers:
                took.setdefault(peer.name, []).append(peer.complete(models.tenth, prompt, 1).first_s * 1000)
    return min(((name, min(times)) for name, times in took.items()), key=lambda each: each[1])


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
