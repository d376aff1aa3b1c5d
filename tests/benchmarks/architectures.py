"""Every generated architecture, SmolLM2 and MiniLM: `python -m tests.benchmarks.architectures [--write] [NAME …]`.

For each one: whether it loads, its predicted and its measured memory, what later prompts reuse, whether the logits
after a restore are those of a fresh prefill, and its speed beside the raw engine. Each one is measured in a process of
its own. The exit status is 1 if one misses. Needs /proc, so Linux only. `--write` updates README.md in this folder.
"""

from __future__ import annotations

import gc
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.llama import engine
from core.llama.calls import common, decode_sequences, never
from core.llama.engine import load_as
from core.llama.instruct import Completion, InstructModel, Message
from core.llama.session_cache import SessionCache
from core.llama.simulate import simulate
from core.memory.footprint import estimate
from core.model_files.spec import ModelSpec
from core.roles import Role
from core.settings import Sampling
from states.reclaim import trim
from tests.architectures.families import ARCHITECTURES, ATTENTIVE, EMBEDDING, RERANKING, WITH_WINDOW
from tests.architectures.smollm2 import smollm2
from tests.benchmarks.__main__ import README, machine
from tests.benchmarks.accuracy import drop_mapped, prefill, resident
from tests.benchmarks.models import threads
from tests.benchmarks.raw import Timed
from tests.benchmarks.raw import _complete as complete
from tests.benchmarks.raw import _load as raw_model
from tests.core.conftest import spec_of
from tests.core.llama.test_session_walks import logits_of
from tests.minilm import write_minilm
from tests.tiny_models import tiny_models
from tests.waiting import join

MIB = 1024**2
CONTEXT, ENCODER_CONTEXT = 4096, 512
REPLY, LETTERS, TOKENS, ROUNDS = 60, 200, 60, 6
SHAPE: dict[str, Any] = {
    "width": 256, "head": 64, "feed_forward": 512, "window": 512, "inner": 512, "state": 64, "rank": 8,
    "vocabulary": "smollm2",
}  # fmt: skip
"""Of every generated model; enough that buffers matter, and little enough that a prefill takes seconds."""
STRIDE = 32
"""Tokens between those that an encoder gets, so that all pages of the embedding are used within few texts."""
SHALLOW = {"gemma3n": 6}
"""Layers; this one has 256 numbers for each token of the vocabulary and each layer."""
REAL, REAL_EMBEDDING = "SmolLM2-135M", "all-MiniLM-L6-v2"
NAMES = [*ARCHITECTURES, REAL, REAL_EMBEDDING]
TOO_LOW, AT_LEAST, TOO_HIGH = 0.03, 5 * MIB, 0.1
LEAST = {"turn": 0.9, "swap": 0.9, "again": 0.85, "edit": 0.4, "speed": 0.9}
"""What must be reused, and the speed, which other programs on the machine disturb; `make bench` has stricter limits.

An edit goes back to a checkpoint, which may lie well before it."""
CORRELATION = 0.999
HEAD = (
    "| model | remembers by | MB taken | predicted | formula | turn 2, 3 | after a swap | again | edit | right "
    "| tok/s ÷ raw | |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---|---:|---|"
)
SECTION = re.compile(r"(<!-- architectures -->\n).*(<!-- /architectures -->)", re.DOTALL)


def write(name: str, folder: Path) -> Path:
    if name == REAL:
        return smollm2()
    if name == REAL_EMBEDDING:
        return write_minilm(folder / "minilm.gguf")
    architecture = ARCHITECTURES[name]
    shape = {**SHAPE, "layers": SHALLOW.get(name, architecture.SMALL.layers)}
    if role_of(name) is not Role.INSTRUCT:
        shape["context"] = ENCODER_CONTEXT
    return architecture.write(folder / f"{name}.gguf", replace(architecture.SMALL, **shape))


def role_of(name: str) -> Role:
    return (
        Role.EMBEDDING
        if name in (*EMBEDDING, REAL_EMBEDDING)
        else Role.RERANKER
        if name in RERANKING
        else Role.INSTRUCT
    )


def kind_of(name: str) -> str:
    if (role := role_of(name)) is not Role.INSTRUCT:
        return "embeds" if role is Role.EMBEDDING else "reranks"
    return "attention" if name in ATTENTIVE or name == REAL else "window" if name in WITH_WINDOW else "state"


def measured(spec: ModelSpec) -> dict[str, int]:
    """Bytes with a full context: as predicted, by the formula, and by how much the process grows."""
    load_as(InstructModel, spec_of(tiny_models()[Role.INSTRUCT], Role.INSTRUCT)).close()  # imports what a load needs
    predicted, formula = simulate(spec).total, estimate(spec).total
    gc.collect()
    trim()
    before = resident(spec.path)
    model = engine.load(spec)
    drop_mapped(spec.path)
    tokens = [300 + number * 7919 % (spec.header.vocab_size - 300) for number in range(spec.context_length)]
    if isinstance(model, InstructModel):
        prefill(model, tokens)
    else:
        width = 1 if spec.role is Role.RERANKER else spec.header.embedding_length
        for first in range(0, spec.header.vocab_size, spec.context_length * STRIDE):
            tokens = [min(first + number * STRIDE, spec.header.vocab_size - 1) for number in range(spec.context_length)]
            decode_sequences(model.llama, [tokens], width, never)
    trim()  # llama.cpp frees its first output buffer, which the heap would keep
    taken = resident(spec.path) - before
    model.close()
    return {"predicted": predicted, "formula": formula, "taken": taken}


@contextmanager
def loaded(spec: ModelSpec, root: Path) -> Iterator[InstructModel]:
    model = load_as(InstructModel, spec)
    model.sessions = SessionCache(root, spec, 1 << 30, lambda _: True)
    join(model.sessions._opener)
    yield model
    model.save_session()
    model.close()


class Talk:
    """A conversation whose turns have 200 letters."""

    def __init__(self) -> None:
        self.dice = np.random.default_rng(3)
        self.turns: list[Message] = []
        self.tokens: list[int] = []
        """Those of the last prompt."""

    def text(self) -> str:
        return " ".join("".join(self.dice.choice(list("abcdefghij"), 4)) for _ in range(LETTERS // 5))

    def say(self, model: InstructModel, *, most: int = REPLY) -> tuple[int, int]:
        """Answer the turns; the tokens reused, and those that the last prompt and this one have in common."""
        before = self.tokens
        prompt = model.fit(self.turns, REPLY)
        shared = common(np.asarray(before, np.int32), np.asarray(prompt.tokens[:-1], np.int32))
        self.tokens = prompt.tokens
        sampling = Sampling(temperature=0, max_tokens=most)
        *pieces, end = model.stream(prompt, sampling, session="01")
        assert isinstance(end, Completion)
        if most > 1:
            self.turns.append(Message("assistant", "".join(each for each in pieces if isinstance(each, str))))
        return end.reused_tokens, shared

    def ask(self) -> None:
        self.turns.append(Message("user", self.text()))

    def edit(self) -> None:
        """Another second message, and nothing after it."""
        del self.turns[2:]
        self.ask()


def reused(spec: ModelSpec, root: Path) -> dict[str, Any]:
    """The shares of tokens that later prompts reuse, and the correlation with a fresh prefill after a restore."""
    talk, turns, held = Talk(), [], 0
    with loaded(spec, root) as model:
        for turn in range(3):
            talk.ask()
            kept, _ = talk.say(model)
            turns += [kept / held] if turn else []
            held = model.llama.n_tokens
    with loaded(spec, root) as model:
        talk.ask()
        kept, _ = talk.say(model)
        swap = kept / held
        talk.turns.pop()
        again, all_but_reply = talk.say(model)
        talk.edit()
        edit, before_edit = talk.say(model)
        for _ in range(2):
            talk.ask()
            talk.say(model)
    with loaded(spec, root) as model, loaded(spec, root / "fresh") as fresh:
        talk.edit()
        talk.say(model, most=1)
        found = logits_of(model)
        talk.say(fresh, most=1)
        right = float(np.corrcoef(found, logits_of(fresh))[0, 1])
    shares = {"again": again / all_but_reply, "edit": edit / before_edit}
    return {"turn": min(turns), "swap": swap, **shares, "right": right}


def speed(spec: ModelSpec) -> dict[str, float]:
    """Charlie's best tokens per second divided by the raw engine's, in turns: other programs only slow one down."""
    text, sampling = "Tell me of the river. " * 4, Sampling(temperature=0, max_tokens=TOKENS)
    own, others = [], []
    spec = replace(spec, threads=threads(), prefill_threads=threads())
    bare = raw_model(str(spec.path), spec.context_length, threads())
    model = load_as(InstructModel, spec)
    for _ in range(ROUNDS):
        *_, end = model.stream(model.fit([Message("user", text)], TOKENS), sampling)
        assert isinstance(end, Completion)
        timed = Timed(**complete(bare, text, TOKENS, time.perf_counter()))
        own.append(end.tokens_per_second)
        others.append((timed.tokens - 1) / (timed.total_s - timed.first_s))
    model.close()
    bare.close()
    return {"speed": max(own) / max(others)}


def measure(name: str, file: Path) -> dict[str, Any]:
    """One architecture, in this process, which has not made the file: the memory of that would be used again."""
    role = role_of(name)
    spec = spec_of(file, role, CONTEXT if role is Role.INSTRUCT else ENCODER_CONTEXT)
    spec = replace(spec, pooling="rank" if role is Role.RERANKER else spec.pooling)
    found: dict[str, Any] = measured(spec)
    if role is Role.INSTRUCT:
        with tempfile.TemporaryDirectory() as folder:
            found |= reused(spec, Path(folder)) | speed(spec)
    return found


def off(found: dict[str, Any], key: str) -> tuple[str, bool]:
    """By how much a prediction is off, and whether it is within its limits."""
    bytes_, ratio = found[key] - found["taken"], found[key] / found["taken"] - 1
    return f"{ratio:+.1%}", -max(AT_LEAST, TOO_LOW * found["taken"]) <= bytes_ and ratio <= TOO_HIGH


def row(name: str, found: dict[str, Any]) -> tuple[str, bool]:
    cells = [name, kind_of(name), f"{found['taken'] / MIB:,.0f}"]
    missed = []
    for key in ("predicted", "formula"):
        text, met = off(found, key)
        cells.append(text)
        missed += [] if met else [key]
    if "turn" in found:
        cells += [f"{found[key]:.0%}" for key in ("turn", "swap", "again", "edit")]
        cells += ["yes" if found["right"] >= CORRELATION else f"**{found['right']:.2f}**", f"{found['speed']:.2f}"]
        missed += [key for key, least in LEAST.items() if found[key] < least]
        missed += [] if found["right"] >= CORRELATION else ["right"]
    else:
        cells += [""] * 6
    return f"| {' | '.join([*cells, 'yes' if not missed else '**no: ' + ', '.join(missed) + '**'])} |", not missed


def table(names: list[str]) -> tuple[str, bool]:
    lines, offs, met = [HEAD], [], True
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            file = write(name, Path(folder))
            command = [sys.executable, "-m", "tests.benchmarks.architectures", "--one", name, str(file)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            line, fine = f"| {name} | {kind_of(name)} | {'| ' * 9}**failed: {done.stderr.splitlines()[-1:]}** |", False
        else:
            found = json.loads(done.stdout.splitlines()[-1])
            offs.append(abs(found["predicted"] / found["taken"] - 1))
            line, fine = row(name, found)
        print(line, file=sys.stderr, flush=True)
        lines.append(line)
        met = met and fine
    middle = statistics.median(offs) if offs else 0.0
    lines += ["", f"The prediction is off by {middle:.1%} in the median; {TOO_LOW:.0%} are allowed."]
    return "\n".join(lines), met and middle <= TOO_LOW


def main() -> int:
    if "--one" in sys.argv:
        print(json.dumps(measure(sys.argv[-2], Path(sys.argv[-1]))))
        return 0
    text, met = table([each for each in sys.argv[1:] if not each.startswith("-")] or NAMES)
    text = f"{machine()}\n\n{text}\n"
    print(text)
    if "--write" in sys.argv:
        README.write_text(SECTION.sub(lambda found: found[1] + text + found[2], README.read_text()))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
