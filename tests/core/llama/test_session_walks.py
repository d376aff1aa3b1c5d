"""Random walks over conversations: whatever happened before, the model has read what it would read afresh.

On every kind of memory: after each step, the next token's logits are those of a fresh prefill of the same tokens, and
no more tokens are evaluated than those after the nearest checkpoint.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
from dspy import lm15

from core.dspy_lm.engine import LlamaEngine
from core.llama.calls import clear_memory, common, cuttable, never
from core.llama.engine import load_as
from core.llama.instruct import Completion, FinishReason, InstructModel, Message
from core.llama.session_cache import MIN_TOKENS, NOT_RESTORABLE, SessionCache
from core.memory.footprint import MAX_OUTPUTS
from core.roles import Role
from core.settings import Sampling
from tests.architectures.families import FAMILIES, GENERATING
from tests.core.conftest import spec_of
from tests.waiting import join

CONTEXT, BATCH, REPLY = 512, 64, 10
GREEDY = Sampling(temperature=0, max_tokens=REPLY)
SYSTEM = Message("system", "You answer in one sentence, politely, and never ask anything back. " * 2)
STEPS = (
    "say", "say", "say", "say", "again", "edit", "stop", "switch", "swap", "crash", "program", "other words",
    "shorter",
)  # fmt: skip

WALKED = [name for name in GENERATING if name != "gemma3n"]
"""The random gemma3n's logits of one prompt, read afresh in batches or token by token, correlate by 0.8 only: it drops
all but the largest activations. So a comparison of them tells nothing; the others' correlate by 0.999."""


@dataclass
class Conversation:
    name: str
    turns: list[Message] = field(default_factory=lambda: [SYSTEM])


class Walk:
    """Two conversations with one model, and a second model that reads everything afresh."""

    def __init__(self, file: Path, root: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.file, self.root = file, root
        self.model = self._load()
        self.fresh = load_as(InstructModel, spec_of(file, Role.INSTRUCT, CONTEXT, BATCH))
        self.talks = [Conversation("01"), Conversation("02")]
        self.talk = self.talks[0]
        self.asked = self.reused = self.left_out = 0

    def _load(self) -> InstructModel:
        spec = spec_of(self.file, Role.INSTRUCT, CONTEXT, BATCH)
        model = load_as(InstructModel, spec)
        model.sessions = SessionCache(self.root, spec, 1 << 30, lambda _: True)
        join(model.sessions._opener)
        return model

    def close(self) -> None:
        self.model.save_session()
        self.model.close()
        self.fresh.close()

    def text(self) -> str:
        return "".join(self.random.choices("abcdefgh ijklm.", k=self.random.randint(5, 90)))

    def step(self, kind: str) -> None:
        turns = self.talk.turns
        users = [n for n, turn in enumerate(turns) if turn.role == "user"]
        match kind:
            case "say":
                turns.append(Message("user", self.text()))
                self.answer()
            case "again" if users:
                del turns[users[-1] + 1 :]
                self.answer()
            case "edit" if users:
                del turns[self.random.choice(users) :]
                self.step("say")
            case "stop":
                self.stop(self.random.randint(1, 200))
            case "switch":
                self.talk = self.talks[self.talk is self.talks[0]]
                self.step("say")
            case "swap" | "crash":
                if kind == "swap":
                    self.model.save_session()
                self.model.close()
                self.model = self._load()
            case "program":
                self.program()
            case "other words" | "shorter" if turns[-1].role == "assistant":
                # Read again, a reply may have other tokens, and a template may leave out its thoughts.
                text = turns[-1].content
                turns[-1] = Message("assistant", text[:-3] + "..." if kind == "other words" else text[5:])

    def answer(self, cancelled: Callable[[], bool] = never) -> FinishReason:
        prompt = self.model.fit(self.talk.turns, REPLY)
        least = self.least_reused(prompt.tokens)
        *pieces, end = self.model.stream(prompt, GREEDY, session=self.talk.name, cancelled=cancelled)
        assert isinstance(end, Completion)
        assert end.reused_tokens >= least
        self.asked += end.prompt_tokens
        self.reused += end.reused_tokens
        self.left_out += prompt.left_out
        if end.finish_reason is not FinishReason.CANCELLED:
            self.talk.turns.append(Message("assistant", "".join(piece for piece in pieces if isinstance(piece, str))))
            self.compare()
        return end.finish_reason

    def stop(self, polls: int) -> FinishReason:
        """Cancel a prefill, mostly in the middle of a batch; the message stays, or is withdrawn."""
        left = iter(range(polls))
        self.talk.turns.append(Message("user", self.text() * 2))
        reason = self.answer(lambda: next(left, None) is None)
        if reason is FinishReason.CANCELLED and self.random.random() < 0.5:
            self.talk.turns.pop()
        return reason

    def program(self) -> None:
        """Another caller uses the model, as a DSPy program does."""
        self.model.detach_session()
        request = lm15.Request(model="any", messages=(lm15.Message.user([lm15.TextPart(self.text())]),))
        LlamaEngine(self.model.llama, GREEDY).complete(request)
        self.compare()

    def least_reused(self, tokens: list[int]) -> int:
        """The tokens up to the nearest checkpoint, in memory or saved, of the model or of a whole session."""
        model, llama = self.model, self.model.llama
        wanted = np.asarray(tokens[:-1], np.int32)
        assert model.sessions is not None
        live = usable(
            wanted, llama.input_ids[: llama.n_tokens], [len(c.tokens) for c in model._checkpoints.kept], cuttable(llama)
        )
        saved = [
            usable(wanted, each.tokens, [position for position, _ in each.checkpoints], cuttable(llama))
            for each in model.sessions._saved.values()
        ]
        best = max(saved, default=0)
        return best if best >= live + MIN_TOKENS else live

    def compare(self) -> None:
        """The logits after all tokens in memory are those of a fresh prefill, in large or small batches or one by one.

        Rounding differs between these: deepseek2's correlate by 0.9990 only, gemma4's by 0.9976. A reply is evaluated
        one by one, or in the small batches of a prompt lookup.
        """
        found = logits_of(self.model)
        assert any(np.corrcoef(found, self.read_afresh(batch))[0, 1] >= 0.999 for batch in (BATCH, MAX_OUTPUTS, 1))

    def read_afresh(self, batch: int) -> Any:
        llama, fresh = self.model.llama, self.fresh.llama
        tokens = llama.input_ids[: llama.n_tokens].tolist()
        clear_memory(fresh)
        fresh.n_tokens = 0
        for begin in range(0, len(tokens), batch):
            assert self.fresh._eval(tokens[begin : begin + batch])
        return logits_of(self.fresh)


def usable(wanted: Any, held: Any, checkpoints: list[int], anywhere: bool) -> int:
    shared = common(held, wanted)
    if anywhere or shared == len(held):
        return shared
    return max((position for position in checkpoints if position <= shared), default=0)


def logits_of(model: InstructModel) -> Any:
    """The logits of the last token that was evaluated, without those of tokens that are never sampled."""
    pointer = llama_cpp.llama_get_logits_ith(model.llama.ctx, -1)
    logits = np.ctypeslib.as_array(pointer, shape=(model.llama.n_vocab(),)).copy()
    return logits[logits != 0]


def walk(family: str, tmp_path: Path, seed: int, steps: int) -> Walk:
    walk = Walk(GENERATING[family].write(tmp_path / f"{family}.gguf"), tmp_path / "sessions", seed)
    for _ in range(steps):
        walk.step(walk.random.choice(STEPS))
    walk.close()
    assert not list((tmp_path / "sessions").glob(f"*/{NOT_RESTORABLE}"))
    return walk


@pytest.mark.parametrize("family", FAMILIES)
def test_a_short_walk(family: str, tmp_path: Path) -> None:
    done = walk(family, tmp_path, seed=1, steps=12)
    assert done.reused > done.asked / 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
@pytest.mark.parametrize("family", WALKED)
def test_a_long_walk(family: str, seed: int, tmp_path: Path) -> None:
    done = walk(family, tmp_path, seed=seed, steps=40)
    assert done.reused > done.asked / 4
    assert done.left_out


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stop_in_the_prefill_loses_only_what_follows_a_checkpoint(family: str, tmp_path: Path) -> None:
    walk = Walk(FAMILIES[family](tmp_path / "model.gguf"), tmp_path / "sessions", seed=1)
    walk.talk.turns.append(Message("user", "Where does the river begin?"))
    walk.answer()
    held, turns = walk.model.llama.n_tokens, list(walk.talk.turns)
    for polls in (1, 2, 20, 40, 60):
        assert walk.stop(polls) is FinishReason.CANCELLED
        assert walk.model.llama.n_tokens > held / 2
        walk.talk.turns = list(turns)
    walk.step("say")
    walk.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_depend_on_the_whole_prompt(family: str, tmp_path: Path) -> None:
    """So that a comparison of logits finds a memory that lacks a part."""
    model = load_as(InstructModel, spec_of(FAMILIES[family](tmp_path / "model.gguf"), Role.INSTRUCT, CONTEXT, BATCH))
    found = []
    for first in ("a boat on the sea", "some thing else.."):
        clear_memory(model.llama)
        model.llama.n_tokens = 0
        turns = [Message("user", first + " and then" * 4)]
        *_, end = model.stream(model.fit(turns, 1), GREEDY.model_copy(update={"max_tokens": 1}))
        assert isinstance(end, Completion)
        found.append(logits_of(model))
    model.close()
    assert np.corrcoef(*found)[0, 1] < 0.99
