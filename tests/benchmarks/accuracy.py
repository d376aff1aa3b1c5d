"""Predicted and measured memory of a load: `python -m tests.benchmarks.accuracy`.

Each case is loaded in its own process, with a full context. The measured figure is the growth of the process: its own
memory plus the pages of the model file that it uses. Needs /proc, so Linux only.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.llama import engine
from core.llama.calls import decode_sequences, never
from core.llama.instruct import InstructModel
from core.llama.simulate import simulate
from core.memory.footprint import estimate
from core.model_files.gguf import read_header
from core.model_files.spec import ModelSpec
from core.roles import Role
from tests.benchmarks.shapes import Shape, write

MIB = 1024**2
MADV_DONTNEED = 4
BASE = Shape()
GIGABYTE = Shape(layers=16, width=2048, heads=16, kv_heads=16, feed_forward=5632, vocabulary=32_000, weights="q8_0")
ENCODER = Shape(architecture="bert", role=Role.EMBEDDING, context=512)
CASES = (
    BASE,
    replace(BASE, layers=4),
    replace(BASE, layers=24),
    replace(BASE, layers=2, width=2048, heads=16, kv_heads=16, feed_forward=5632),
    replace(BASE, kv_heads=4),
    replace(BASE, kv_heads=1),
    replace(BASE, heads=24, kv_heads=24),
    replace(BASE, vocabulary=32_000),
    replace(BASE, vocabulary=128_000, width=256, heads=4, kv_heads=4, feed_forward=1024),
    replace(BASE, context=512),
    replace(BASE, context=4096, layers=6),
    replace(BASE, context=8192, layers=4, width=512, heads=8, kv_heads=8),
    replace(BASE, context=16_384, layers=4, width=256, heads=4, kv_heads=4),
    replace(BASE, context=32_768, layers=4, width=256, heads=4, kv_heads=4),
    replace(BASE, batch=64),
    replace(BASE, batch=128, layers=12),
    replace(BASE, batch=1024),
    replace(BASE, weights="q8_0", layers=16),
    replace(BASE, weights="q4_0", layers=24),
    replace(BASE, weights="mixed", layers=16),
    replace(BASE, weights="f32", layers=4),
    replace(BASE, kv="q8_0"),
    replace(BASE, kv="q8_0", context=8192, layers=4, width=512, heads=8, kv_heads=8),
    replace(BASE, weights="q4_0", kv="q8_0", layers=24),
    replace(BASE, kv="q4_0", context=4096, layers=6),
    replace(BASE, experts=8, width=512, heads=8, kv_heads=4, feed_forward=1024),
    replace(BASE, architecture="gemma3", window=512, layers=12, width=512, heads=8, kv_heads=4, context=4096),
    ENCODER,
    replace(ENCODER, layers=24),
    replace(ENCODER, context=1024, vocabulary=30_000),
    replace(ENCODER, weights="q8_0", layers=24),
    replace(ENCODER, role=Role.RERANKER, vocabulary=30_000),
    replace(ENCODER, role=Role.RERANKER, layers=12, context=1024),
    replace(ENCODER, context=2048, layers=12),
)


def spec_of(path: Path, shape: Shape, gpu_layers: int = 0) -> ModelSpec:
    header = read_header(path)
    return ModelSpec(
        role=shape.role,
        path=path,
        name=header.name,
        header=header,
        bundled=False,
        context_length=shape.context,
        least_context=shape.context,
        gpu_layers=gpu_layers,
        least_gpu_layers=gpu_layers,
        threads=2,
        prefill_threads=2,
        batch=shape.batch,
        kv_type=shape.kv,
        mmap=True,
        pooling=header.pooling,
    )


def resident(path: Path) -> int:
    """Bytes of this process's own memory plus the resident pages of the mapped file."""
    total, counted = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            counted = line.endswith(str(path))
        elif line.startswith("Anonymous:") or (counted and line.startswith("Rss:")):
            total += int(line.split()[1]) * 1024
    return total


def drop_mapped(path: Path) -> None:
    """Drops the mapped pages of a file: pages in use return, pages that were only copied from do not."""
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(path)):
            start, end = (int(number, 16) for number in line.split(" ", 1)[0].split("-"))
            if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED):
                raise OSError(ctypes.get_errno(), "madvise")


def fill(model: engine.Model, shape: Shape) -> None:
    """Fills the whole context, with as many different tokens as possible."""
    tokens = [number * 7919 % shape.vocabulary for number in range(shape.context)]
    if isinstance(model, InstructModel):
        prefill(model, tokens)
    else:
        decode_sequences(model.llama, [tokens], 1 if shape.role is Role.RERANKER else shape.width, never)


def prefill(model: InstructModel, tokens: list[int]) -> None:
    """Evaluates a context, with all checkpoints where the model needs any."""
    for first in range(0, len(tokens), model.spec.batch):
        assert model._eval(tokens[first : first + model.spec.batch])
        if model._checkpoints._needed:
            model._checkpoints.add()


def run_case(shape: Shape) -> dict[str, Any]:
    """Predicts, loads, uses and measures one case in this process."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "model.gguf", shape)
        spec = spec_of(path, shape)
        simulate(spec)  # the first call imports llama.cpp
        began = time.perf_counter()
        simulated = simulate(spec)
        seconds = time.perf_counter() - began
        before = resident(path)
        model = engine.load(spec)
        drop_mapped(path)
        fill(model, shape)
        measured = resident(path) - before
        model.close()
        return {
            "predicted": simulated.total,
            "computed": estimate(spec).total,
            "measured": measured,
            "ms": seconds * 1000,
            "parts": [simulated.weights, simulated.kv_cache, simulated.compute, simulated.overhead],
        }


def gigabyte() -> list[float]:
    """Milliseconds of several simulated loads of a 1 GB file, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        spec = spec_of(write(Path(folder) / "model.gguf", GIGABYTE, hollow=True), GIGABYTE)
        simulate(spec)  # the first call imports llama.cpp
        found = []
        for _ in range(15):
            began = time.perf_counter()
            simulate(spec)
            found.append((time.perf_counter() - began) * 1000)
        return found


def time_gigabyte() -> None:
    milliseconds = sorted(gigabyte())
    print(
        f"A file of 1 GB, {GIGABYTE.vocabulary:,} words: {statistics.median(milliseconds):.0f} ms in the median of "
        f"{len(milliseconds)}, {milliseconds[0]:.0f} to {milliseconds[-1]:.0f}."
    )


def run_in_subprocess(number: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.accuracy", str(number)],
        check=True, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    print("| case | context | batch | KV | predicted MB | measured MB | off by | computed | ms |")
    print("|---|---:|---:|---|---:|---:|---:|---:|---:|")
    off, computed_off = [], []
    for number, shape in enumerate(CASES):
        found = run_in_subprocess(number)
        measured = found["measured"]
        off.append(abs(found["predicted"] / measured - 1))
        computed_off.append(abs(found["computed"] / measured - 1))
        print(
            f"| {shape.label} | {shape.context:,} | {shape.batch} | {shape.kv} | {found['predicted'] / MIB:,.1f} "
            f"| {measured / MIB:,.1f} | {found['predicted'] / measured - 1:+.1%} "
            f"| {found['computed'] / measured - 1:+.1%} | {found['ms']:.0f} |",
            flush=True,
        )
    print()
    time_gigabyte()
    print(
        f"\n{len(off)} cases. Predicted: off by {statistics.median(off):.1%} in the median, {max(off):.1%} at worst. "
        f"Computed from the header alone: {statistics.median(computed_off):.1%}, {max(computed_off):.1%}."
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["gigabyte"]:
        time_gigabyte()
    elif len(sys.argv) > 1:
        print(json.dumps(run_case(CASES[int(sys.argv[1])])))
    else:
        main()
