"""Installs the peers and tests them on small models, in half a minute: `python -m tests.benchmarks.peers [THREADS]`."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from core.roles import Role
from tests.benchmarks.models import built
from tests.benchmarks.peers import PEERS, Peer, install, installed
from tests.model_files import endless, syllables

CONTEXT = 4096
ROUNDS = 5
REPLY = 200
LONG = 800
"""Words. The tiny model has a context of 2,048 tokens."""
COMMON = ("the", "and", "with", "from", "this", "have", "about", "time", "people", "water", "world", "different")
MIB = 1024**2
HEAD = (
    "| peer | model | TTFT warm ms | after a swap ms | tokens/s | prefill ms | repeated prefill ms | RSS MB | text |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---|"
)


@contextmanager
def tested_models() -> Iterator[dict[Path, tuple[str, ...]]]:
    """Words for each model; in the random models each word is one token."""
    with built(short=True) as models:
        tiny = endless(models.tiny[Role.INSTRUCT], models.folder / "tiny.gguf")
        yield {tiny: COMMON, models.tenth: tuple(syllables()), models.half: tuple(syllables())}


def row(peer: Peer, file: Path, other: Path, words: tuple[str, ...], rng: random.Random) -> str:
    """All measurements of one peer on one model: medians of some rounds, with a new prompt each time."""

    def prompt(count: int) -> str:
        return " ".join(rng.choices(words, k=count))

    swapped, warm, rates, prefills, repeated = [], [], [], [], []
    for _ in range(ROUNDS):
        peer.complete(other, prompt(8), 1)
        swapped.append(peer.complete(file, prompt(8), 1).first_s * 1000)
        warm.append(peer.complete(file, prompt(8), 1).first_s * 1000)
        reply = peer.complete(file, prompt(8), REPLY)
        rates.append((reply.tokens - 1) / (reply.total_s - reply.first_s))
        long = prompt(LONG)
        prefills.append(peer.complete(file, long, 1).first_s * 1000)
        repeated.append(peer.complete(file, long, 1).first_s * 1000)
    figures = [f"{statistics.median(found):,.1f}" for found in (warm, swapped, rates, prefills, repeated)]
    resident = psutil.Process(peer.pid).memory_info().rss / MIB
    text = peer.complete(file, "one and two", 4).text.strip()
    return f"| {' | '.join([f'{peer.name} {peer.version}', file.stem, *figures, f'{resident:,.0f}', text])} |"


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else psutil.cpu_count() or 1
    install()
    print(f"\n{threads} threads, {CONTEXT:,} tokens of context, a prefill of {LONG:,} words.\n\n{HEAD}")
    with tested_models() as models:
        files = list(models)
        for name in installed():
            for number, file in enumerate(files):
                other = files[number - 1]
                with PEERS[name]((other, file), CONTEXT, threads) as peer:
                    print(row(peer, file, other, models[file], random.Random(number)), flush=True)


if __name__ == "__main__":
    main()
