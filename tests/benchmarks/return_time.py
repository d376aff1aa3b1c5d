"""Return to a long conversation after a swap: `python -m tests.benchmarks.return_time`.

Charlie's time includes the swap: it unloads the embedding model, loads the instruct model, restores the KV cache and
reads the new message. It is compared with the floor, which is what the raw engine takes for load, restore and as many
new tokens, with large pages as in the worker; and with the prefill of the conversation by the fastest program.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from app.runtime.owner import with_tunables
from core.model_files.gguf import read_header
from core.roles import Role
from tests.benchmarks.charlie import CONTEXT, TimedClient, must_fit, prompt_of, serving, words
from tests.benchmarks.models import Models, built, threads
from tests.benchmarks.peers import PEERS, installed
from tests.benchmarks.raw import Raw, raw
from tests.benchmarks.table import Row, at_most, attempted, table
from tests.model_files import Size, write_random

MEASURE = "return to a chat of {:,} tokens after a swap"
TOKENS, TEMPLATE_TOKENS = 16, 32
"""Tokens of each reply, and the most that the chat template adds to a turn."""
WARM_UP = 2
"""Rounds that do not count: the first ones load code."""
MAX_OF_FLOOR = 1.15
MAX_OF_PREFILL = 1 / 20


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation of `history` tokens with a model; `prefills` are counted for each program, `rounds` returns."""

    name: str
    file: Path
    context: int
    history: int
    prefills: int
    rounds: int

    def must_fit(self) -> None:
        must_fit(self.file, self.history, TOKENS + (WARM_UP + self.rounds) * (TEMPLATE_TOKENS + TOKENS), self.context)


LONG_CONTEXT, LONG_HISTORY = 17_408, 16_000
LONG = Size(width=512, layers=4, heads=8, feed_forward=1024, context=LONG_CONTEXT, words=True)


def rows(models: Models) -> Iterator[Row]:
    for case in _cases(models):
        case.must_fit()
    for case in _cases(models, short=models.short):
        yield from attempted(MEASURE.format(case.history), case.name, _of_one, case, models)


def _cases(models: Models, *, short: bool = False) -> list[Case]:
    file = models.folder / "long.gguf"
    if not file.exists():
        write_random(file, 5, LONG)
    if short:
        return [Case("0.1 B", models.tenth, CONTEXT, 400, 1, 1), Case("long context", file, LONG_CONTEXT, 600, 1, 1)]
    return [
        Case("0.1 B", models.tenth, CONTEXT, 2000, 3, 9),
        Case("long context", file, LONG_CONTEXT, LONG_HISTORY, 1, 9),
    ]


def _of_one(case: Case, models: Models) -> Iterator[Row]:
    saved = models.folder / "raw.kv"
    large_pages = {**os.environ, "GLIBC_TUNABLES": with_tunables(os.environ.get("GLIBC_TUNABLES", ""))}
    with raw(large_pages) as engine:
        name, prefill = _fastest_prefill(case, engine, saved)
        with serving(case.file, case.context, models.smallest[Role.EMBEDDING]) as charlie:
            conversation = charlie.conversation()
            charlie.reply(words(case.history, 1), TOKENS, conversation)
            pairs = [_return(case, engine, saved, charlie, conversation, seed) for seed in range(WARM_UP + case.rounds)]
    ours, floor = (statistics.median(each) for each in zip(*pairs[WARM_UP:], strict=True))
    measure = MEASURE.format(case.history)
    yield at_most(f"{measure} ÷ the floor", case.name, (ours, floor), "ms", "raw load + restore + read", MAX_OF_FLOOR)
    yield at_most(f"{measure} ÷ prefill by the fastest", case.name, (ours, prefill), "ms", name, MAX_OF_PREFILL)


def _return(
    case: Case, engine: Raw, saved: Path, charlie: TimedClient, conversation: str, seed: int
) -> tuple[float, float]:
    """Charlie's time and the floor, in milliseconds."""
    charlie.warm(Role.EMBEDDING)
    reply = charlie.reply(words(1, seed + 4000), TOKENS, conversation)
    assert reply.stats["load_ms"] > 0
    reused = reply.stats["reused_tokens"]
    assert reused >= case.history
    charlie.warm(Role.EMBEDDING)  # the two hold one large KV cache at a time
    fresh = reply.stats["prompt_tokens"] - reused
    floor = engine.resume(case.file, saved, fresh, context=case.context, threads=threads()).first_s * 1000
    engine.close()
    return reply.first_s * 1000, floor


def _fastest_prefill(case: Case, engine: Raw, saved: Path) -> tuple[str, float]:
    """The program with the fastest prefill of such a prompt, its model warm, and its best time in milliseconds.

    The raw engine saves its KV cache.
    """
    template = read_header(case.file).chat_template or ""
    took: dict[str, list[float]] = {}
    engine.load(case.file, context=case.context, threads=threads())
    engine.complete(prompt_of(template, "bab"), 1)
    prompts = [prompt_of(template, words(case.history, seed + 3000)) for seed in range(case.prefills)]
    took["raw"] = [engine.complete(each, 1).first_s * 1000 for each in prompts]
    engine.save(saved)
    engine.close()
    for each in installed():
        with ExitStack() as stack:
            peer = stack.enter_context(PEERS[each]([case.file], case.context, threads()))
            peer.complete(case.file, prompt_of(template, "bab"), 1)
            took[peer.name] = [peer.complete(case.file, prompt, 1).first_s * 1000 for prompt in prompts]
    return min(((name, min(times)) for name, times in took.items()), key=lambda each: each[1])


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
