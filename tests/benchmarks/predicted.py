"""Predicted and measured speed of models of at least 500 MB: `python -m tests.benchmarks.predicted [--write] [NAME …]`.

The files have random weights and are removed after use; each model is loaded in a process of its own, as Charlie loads
it. For a quiet machine; about ten minutes on two cores, 6 GB of disk and of RAM. Half of the shapes, marked with
†, were held out when the constants of core/memory/speed.py were chosen. `--write` updates README.md in this folder.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf

from core.llama.engine import load_as
from core.llama.instruct import Completion, FittedPrompt, InstructModel
from core.memory.rates import FORM, Rates
from core.memory.speed import PROMPT, predict
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.settings import Sampling
from tests.architectures.families import GENERATING
from tests.architectures.sized_file import Size
from tests.benchmarks.__main__ import README, machine
from tests.model_files import endless

TOKENS, SECONDS = 64, 3.0
"""At least so many tokens and so long, for decode."""
F16, Q8_0, Q4_K, MXFP4 = (gguf.GGMLQuantizationType[name] for name in ("F16", "Q8_0", "Q4_K", "MXFP4"))
QWEN35 = Size(24, 2048, 8, 2, 256, 6144, inner=2048, state=128, rank=16, groups=16, vocabulary=248_320, tied=True)
QWEN3 = Size(28, 2048, 16, 8, 128, 6144, vocabulary=151_936, tied=True)
MOE = Size(16, 2048, 32, 4, 128, 768, experts=32, used=8, vocabulary=151_936)
GRANITE = Size(40, 1536, 12, 4, 128, 4096, inner=3072, state=128, rank=48, vocabulary=100_352, tied=True)
SHAPES: dict[str, tuple[str, Size]] = {
    "Qwen3 1.7B": ("qwen3", QWEN3),
    "Qwen3 0.6B": ("qwen3", Size(28, 1024, 16, 8, 128, 3072, vocabulary=151_936, tied=True)),
    "Qwen3 4B": ("qwen3", Size(36, 2560, 32, 8, 128, 9728, vocabulary=151_936, tied=True)),
    "Phi-4 mini": ("phi4", Size(32, 3072, 24, 8, 128, 8192, vocabulary=200_064, tied=True)),
    "OLMo 2 1B": ("olmo2", Size(16, 2048, 16, 16, 128, 8192, vocabulary=100_352)),
    "Gemma 3 1B": ("gemma3", Size(26, 1152, 4, 1, 256, 6912, window=512, vocabulary=262_144, tied=True)),
    "Gemma 4 E2B": ("gemma4", Size(30, 1536, 8, 1, 512, 6144, window=512, vocabulary=131_072, tied=True)),
    "Qwen3 MoE 3B": ("qwen3moe", MOE),
    "gpt-oss 3B": ("gpt-oss", Size(12, 2880, 64, 8, 64, 2880, 128, experts=8, used=4, vocabulary=201_088)),
    "DeepSeek MoE 2B": ("deepseek2", Size(12, 2048, 16, 1, 256, 1024, experts=24, used=6, vocabulary=102_400)),
    "Qwen3.5 2B": ("qwen35", QWEN35),
    "Qwen3.5 0.8B": ("qwen35", replace(QWEN35, width=1024, feed_forward=3584)),
    "Qwen3.5 MoE 3B": ("qwen35moe", Size(
        16, 2048, 16, 2, 256, 512, experts=48, used=8, inner=4096, state=128, rank=32, groups=16, vocabulary=248_320
    )),
    "LFM2 1.2B": ("lfm2", Size(16, 2048, 32, 8, 64, 8192, convolution=3, vocabulary=65_536, tied=True)),
    "Granite 4 1B": ("granitehybrid", GRANITE),
    "Falcon H1 1.5B": ("falcon-h1", Size(24, 2048, 8, 2, 128, 4096, inner=3072, state=256, rank=48, vocabulary=65_536)),
}  # fmt: skip
"""Shapes that people run, some with fewer layers or experts, so that they fit on the disk."""
CASES = (
    ("Qwen3 1.7B", Q4_K), ("Qwen3 1.7B", Q8_0), ("Qwen3 0.6B", F16), ("OLMo 2 1B", Q4_K), ("Gemma 3 1B", Q8_0),
    ("Qwen3 MoE 3B", Q4_K), ("gpt-oss 3B", MXFP4), ("Qwen3.5 2B", Q4_K), ("LFM2 1.2B", Q8_0), ("Granite 4 1B", F16),
)  # fmt: skip
HELD_OUT = (
    ("Qwen3 4B", Q4_K), ("Phi-4 mini", Q4_K), ("Gemma 4 E2B", Q4_K), ("DeepSeek MoE 2B", Q8_0),
    ("DeepSeek MoE 2B", Q4_K), ("Qwen3.5 0.8B", Q8_0), ("Qwen3.5 0.8B", F16), ("Qwen3.5 MoE 3B", Q4_K),
    ("LFM2 1.2B", Q4_K), ("Falcon H1 1.5B", Q8_0),
)  # fmt: skip
NEAR = 0.25
HEAD = (
    "| model | weights | MB | prefill predicted | measured | ratio | decode predicted | measured | ratio | |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---|"
)
SECTION = re.compile(r"(<!-- predicted -->\n).*(<!-- /predicted -->)", re.DOTALL)


class Timed:
    """One prompt: the times on the clock and of the processor when it began, after the prefill, and at the end."""

    def __init__(self, model: InstructModel, seed: int, most: int) -> None:
        words = model.spec.header.vocab_size - 300
        tokens = [300 + (seed * 7919 + number * 104_729) % words for number in range(PROMPT)]
        self.marks: list[tuple[float, float]] = []
        self._asked = 0
        self._mark()
        *_, end = model.stream(
            FittedPrompt(tokens, 0), Sampling(max_tokens=most, seed=1),
            cancelled=self._enough, on_prefill=lambda done, total: self._mark() if done == total else None,
        )  # fmt: skip
        self._mark()
        assert isinstance(end, Completion)
        self.tokens = end.completion_tokens

    def _mark(self) -> None:
        self.marks.append((time.perf_counter(), time.process_time()))

    def _enough(self) -> bool:
        """Asked before each token, and often during the prefill."""
        self._asked += len(self.marks) > 1
        return self._asked > TOKENS and time.perf_counter() - self.marks[1][0] > SECONDS

    def speeds(self, clock: int) -> dict[str, float]:
        began, prefilled, ended = (mark[clock] for mark in self.marks)
        return {"prefill": PROMPT / (prefilled - began), "decode": self.tokens / (ended - prefilled)}


def measure(file: Path, threads: int | None) -> list[dict[str, float]]:
    """Tokens per second of a loaded model, and per second of the processor, which other programs disturb less.

    The latter are right with one thread: several wait for each other by spinning.
    """
    spec = default_spec(read_header(file))
    if threads:
        spec = replace(spec, threads=threads, prefill_threads=threads)
    model = load_as(InstructModel, spec)
    for seed in (0, 1):  # the first ones read the file
        Timed(model, seed, 1)
    timed = Timed(model, 2, 3000)
    assert timed.tokens >= TOKENS
    model.close()
    return [timed.speeds(0), timed.speeds(1)]


def row(name: str, weights: Any, rates: Rates, *, held: bool) -> tuple[str, bool]:
    architecture, size = SHAPES[name]
    with tempfile.TemporaryDirectory() as folder:
        ending, file = Path(folder) / "ending.gguf", Path(folder) / "model.gguf"
        GENERATING[architecture].write(ending, replace(size, weights=weights, quick=True))
        endless(ending, file)  # random weights may end each reply at once
        ending.unlink()
        predicted = predict(read_header(file), PROMPT + TOKENS, 0, rates)
        command = [sys.executable, "-m", "tests.benchmarks.predicted", "--one", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        megabytes = file.stat().st_size / 1e6
    if done.returncode:
        return f"| {name} | {weights.name} | {megabytes:,.0f} | **failed: {done.stderr.splitlines()[-1:]}** |", False
    found, _ = json.loads(done.stdout.splitlines()[-1])
    cells, near = [name + " †" * held, weights.name, f"{megabytes:,.0f}"], True
    for expected, real in ((predicted.prefill, found["prefill"]), (predicted.decode, found["decode"])):
        cells += [f"{expected:.1f}", f"{real:.1f}", f"{expected / real:.2f}"]
        near = near and abs(expected / real - 1) <= NEAR
    return f"| {' | '.join([*cells, 'yes' if near else '**no**'])} |", near


def main() -> int:
    if "--one" in sys.argv:
        print(json.dumps(measure(Path(sys.argv[-1]), 1 if "--alone" in sys.argv else None)))
        return 0
    names = [each for each in sys.argv[1:] if not each.startswith("-")]
    cases = [(*each, held) for held, part in enumerate((CASES, HELD_OUT)) for each in part]
    cases = [case for case in cases if not names or f"{case[0]} {case[1].name}" in names or case[0] in names]
    command = [sys.executable, "-m", "core.memory.rates"]
    rates = FORM.validate_json(subprocess.run(command, capture_output=True, check=True).stdout)
    lines, near = [], 0
    for number, (name, weights, held) in enumerate(cases, start=1):
        line, met = row(name, weights, rates, held=bool(held))
        print(f"[{number}/{len(cases)}] {line}", file=sys.stderr, flush=True)
        lines.append(line)
        near += met
    text = "\n".join([machine(), "", HEAD, *lines, "", f"{near} of {len(cases)} are within {NEAR:.0%}.", ""])
    print(text)
    if "--write" in sys.argv:
        README.write_text(SECTION.sub(lambda found: found[1] + text + found[2], README.read_text()))
    return 0 if near == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
