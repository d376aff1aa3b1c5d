"""The time of a swap, from the request to the first token: `python -m tests.benchmarks.swap_time`.

Charlie unloads the embedding model and loads the wanted one, the raw engine closes and loads the same two. The peers
unload a small generating model instead, which takes them less.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path

from core.gguf import read_header
from core.settings import Role
from tests.benchmarks.charlie import context_of, prompt_of, serving, words
from tests.benchmarks.models import Models, built, threads_of
from tests.benchmarks.peers import PEERS, installed
from tests.benchmarks.raw import raw
from tests.benchmarks.table import Row, at_most, shown, table

ROUNDS, ROUNDS_SHORT = {"starter": 25, "0.1 B": 15, "0.5 B": 9}, 1
MEASURE = "swap, request to first token ÷ raw close + load + first token"
MOST, MOST_MORE_MS = 1.10, 15.0


def rows(models: Models) -> list[Row]:
    return [row for name, file in models.instruct.items() for row in _of_one(name, file, models)]


def _of_one(name: str, file: Path, models: Models) -> list[Row]:
    template, threads = read_header(file).chat_template or "", threads_of(name)
    took: dict[str, list[float]] = {"raw": [], "Charlie": []}
    with ExitStack() as stack:
        engine, asked = stack.enter_context(raw()), stack.enter_context(serving(file))
        files, context = [models.other, file], context_of(file)
        peers = [stack.enter_context(PEERS[each](files, context, threads)) for each in installed()]
        for seed in range(1 + (ROUNDS_SHORT if models.short else ROUNDS[name])):
            prompt = prompt_of(template, words(16, seed))
            for peer in peers:
                peer.complete(models.other, prompt, 1)
                took.setdefault(peer.name, []).append(peer.complete(file, prompt, 1).first_s * 1000)
            engine.load(models.starters[Role.EMBEDDING], context=512, threads=1, embedding=True)
            took["raw"].append(engine.swap(file, prompt, context=context, threads=threads).first_s * 1000)
            engine.close()
            asked.warm(Role.EMBEDDING)
            reply = asked.reply(words(16, seed + 2000), 8)
            assert reply.stats["load_ms"] > 0
            took["Charlie"].append(reply.first_s * 1000)
    medians = {each: statistics.median(times[1:]) for each, times in took.items()}
    ours, theirs = medians.pop("Charlie"), medians.pop("raw")
    if name == "starter":
        more = f"{shown(ours - theirs, 'ms')} more, ≤ {MOST_MORE_MS:g}"
        share = (ours - theirs) / MOST_MORE_MS
        first = Row(MEASURE, name, shown(ours, "ms"), f"raw {shown(theirs, 'ms')}", ours / theirs, more, share)
    else:
        first = at_most(MEASURE, name, (ours, theirs), "ms", "raw", MOST)
    return [
        first,
        *(at_most(f"swap ÷ {peer}'s", name, (ours, each), "ms", peer, 1.0) for peer, each in medians.items()),
    ]


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
