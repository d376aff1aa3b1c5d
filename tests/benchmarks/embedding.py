"""1,000 entries of 100 tokens indexed with MiniLM, by one worker: `python -m tests.benchmarks.embedding`.

Beside `Llama.embed`, one entry after the other, on the same file; and beside what this machine's sgemm needs for the
products with the model's matrices alone, without the attention.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.client import Client
from app.runtime.owner import Runtime
from core.events.types import JobState
from core.library.chunking import PASSAGE_CHARACTERS
from core.llama.calls import log
from core.model_files.spec import ModelSpec, resolve
from core.roles import Role
from tasks.jobs.records import Ended
from tests.benchmarks.home import home
from tests.benchmarks.models import Models, built
from tests.benchmarks.table import Row, at_most, attempted, table
from tests.minilm import write_minilm
from tests.waiting import deadline, ended

COUNT, COUNT_SHORT = 1_000, 20
PATIENCE = 600.0
TURN = 50
"""Entries of each way before the next way's turn: all ways see the same load, and no idle work begins in between."""
TOKENS = 100
MEASURE, CASE = f"indexing an entry of {TOKENS} tokens", "MiniLM"
MAX_RAW, MAX_SGEMM = 0.75, 1 / 0.8
"""Limits for the time of a job, divided by that of each other way."""
WORDS = ["a", "i", "we", "it", "in", "on", "a", "i", "to", "up", "at", "is"]
"""Each is one token, and so short that an entry is one passage."""
SGEMM = f"""
import ctypes, glob, json, os, sys, time
import numpy as np
rows, count = 5 * {TOKENS}, int(sys.argv[1]) // 5
dice = np.random.default_rng(1)
wide, narrow = (dice.normal(size=shape).astype("f4") for shape in ((rows, 1536), (rows, 384)))
squares = dice.normal(size=(4, 384, 384)).astype("f4")
up, down = (dice.normal(size=shape).astype("f4") for shape in ((384, 1536), (1536, 384)))
def layers(layers):
    for _ in range(layers):
        for square in squares:
            narrow @ square
        narrow @ up
        wide @ down
layers(6)
began = time.perf_counter()
layers(6 * count)
seconds = time.perf_counter() - began
kernel = ""
for path in glob.glob(os.path.join(os.path.dirname(np.__file__), "..", "numpy.libs", "*openblas*")):
    name = getattr(ctypes.CDLL(path), "scipy_openblas_get_corename64_", None)
    if name:
        name.restype = ctypes.c_char_p
        kernel = name().decode()
print(json.dumps([seconds, kernel]))
"""
"""Prints the seconds of the products for so many entries, 500 tokens at a time, and the kernel that computed them."""


def rows(models: Models) -> list[Row]:
    return attempted(MEASURE, CASE, _indexed, models)


def _indexed(models: Models) -> Iterator[Row]:
    count = COUNT_SHORT if models.short else COUNT
    file, dice, kernel = write_minilm(models.folder / "minilm.gguf"), random.Random(1), ""
    texts = [" ".join(dice.choices(WORDS, k=TOKENS - 2)) for _ in range(count)]
    assert max(map(len, texts)) <= PASSAGE_CHARACTERS
    spent = dict.fromkeys(("job", "raw", "sgemm"), 0.0)
    with home({Role.EMBEDDING: file}) as client, Runtime(client):
        ended(client.jobs, client.warm(Role.EMBEDDING).id)
        with _raw(resolve(client.settings, client.paths, Role.EMBEDDING)) as one_by_one:
            for start in range(0, count, TURN):
                part = texts[start : start + TURN]
                spent["job"] += _index(client, part)
                spent["raw"] += _timed(lambda part=part: one_by_one(part))  # type: ignore[misc]
                seconds, kernel = _sgemm(len(part))
                spent["sgemm"] += seconds
    job, raw, sgemm = (seconds / count * 1000 for seconds in spent.values())
    yield at_most(MEASURE, CASE, (job, raw), "ms", "Llama.embed", MAX_RAW)
    yield at_most(MEASURE, CASE, (job, sgemm), "ms", f"sgemm {kernel}", MAX_SGEMM)


def _index(client: Client, texts: Sequence[str]) -> float:
    """Seconds from the request to the end of one job for all texts."""
    entries = [client.journal.new_entry(text) for text in texts]
    began = time.perf_counter()
    *_, end = deadline(client.follow(client.ingest_all([entry.id for entry in entries]).id), PATIENCE)
    assert isinstance(end, Ended)
    assert end.state is JobState.DONE
    return time.perf_counter() - began


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _sgemm(entries: int) -> tuple[float, str]:
    """In a process of its own: OpenBLAS reads its environment when it is loaded, and these slow it down."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    command = [sys.executable, "-c", SGEMM, str(entries)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, kernel = json.loads(done.stdout)
    return seconds, kernel


@contextmanager
def _raw(spec: ModelSpec) -> Iterator[Callable[[Sequence[str]], object]]:
    """`Llama.embed`, called once for each text, with the same number of threads."""
    from llama_cpp import Llama

    llama = Llama(
        str(spec.path), embedding=True, verbose=False, n_ctx=spec.context_length, n_threads=spec.threads,
        n_threads_batch=spec.prefill_threads, n_gpu_layers=spec.gpu_layers,
    )  # fmt: skip
    log.disabled = True  # each call warns that it outputs all tokens
    llama.embed("warm")
    yield lambda texts: [llama.embed(text) for text in texts]
    log.disabled = False
    llama.close()


def main() -> None:
    with built(short=False) as models:
        print(table(rows(models)))


if __name__ == "__main__":
    main()
