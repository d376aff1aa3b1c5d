"""Time of a swap, from the request to the first token: `python -m tests.benchmarks.swap_time`.

Charlie and the raw engine unload an embedding model of three layers and load the instruct model, in the first row
one of six layers. The peers unload a small instruct model instead, which is faster.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from core.model_files.gguf import read_header
from core.roles import Role
from tests.benchmarks.charlie import context_of, must_fit, prompt_of, serving, words
from tests.benchmarks.models import Models, built, threads
from tests.benchmarks.peers import PEERS, installed
from tests.benchmarks.raw import raw
from tests.benchmarks.table import Row, at_most, attempted, table

SMALLEST = "smallest"
ROUNDS, ROUNDS_SHORT = {SMALLEST: 40, "0.1 B": 15, "0.5 B": 9}, 1
WORDS, TOKENS = 16, 8
MEASURE = "swap, request to first token ÷ raw close + load + first token"
MAX_RATIO = 1.10


def rows(models: Models) -> Iterator[Row]:
    for name, file in {SMALLEST: models.smallest[Role.INSTRUCT], **models.instruct}.items():
        yield from attempted(MEASURE, name, _of_one, name, file, models)


def _of_one(name: str, file: Path, models: Models) -> Iterator[Row]:
    for each in (models.other, file):
        must_fit(each, WORDS, TOKENS)
    embedding = models.smallest[Role.EMBEDDING]
    template = read_header(file).chat_template or ""
    took: dict[str, list[float]] = {"raw": [], "Charlie": []}
    with ExitStack() as stack:
        engine, charlie = stack.enter_context(raw()), stack.enter_context(serving(file, embedding=embedding))
        files, context = [models.other, file], context_of(file)
        peers = [stack.enter_context(PEERS[each](files, context, threads())) for each in installed()]
        for seed in range(1 + (ROUNDS_SHORT if models.short else ROUNDS[name])):
            prompt = prompt_of(template, words(WORDS, seed))
            for peer in peers:
                peer.complete(models.other, prompt, 1)
                took.setdefault(peer.name, []).append(peer.complete(file, prompt, 1).first_s * 1000)
            engine.load(embedding, context=512, threads=1, embedding=True)
            took["raw"].append(engine.swap(file, prompt, context=context, threads=threads()).first_s * 1000)
            engine.close()
            charlie.warm(Role.EMBEDDING)
            reply = charlie.reply(words(WORDS, seed + 2000), TOKENS)
            assert reply.stats["load_ms"] > 0
            took["Charlie"].append(reply.first_s * 1000)
    medians = {each: statistics.median(times[1:]) for each, times in took.items()}
    ours, theirs = medians.pop("Charlie"), medians.pop("raw")
    yield at_most(MEASURE, name, (ours, theirs), "ms", "raw", MAX_RATIO)
    for peer_name, median in medians.items():
        yield at_most(f"swap ÷ {peer_name}'s", name, (ours, median), "ms", peer_name, 1.0)


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
