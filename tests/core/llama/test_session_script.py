"""A conversation of thirty turns, with all that makes a prompt diverge: how many tokens are evaluated twice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.llama.calls import common
from core.llama.instruct import Completion, InstructModel, Message
from core.settings import Sampling
from tests.architectures.families import ATTENTION, FAMILIES
from tests.core.llama.test_session_cache import loaded

AGAIN, EDITED, RELOADED = (3, 9, 14, 20, 26), {7: 1, 16: 2, 24: 1}, (6, 12, 21)
"""Turns after which the last message is answered again; after which the last message but so many is changed; and
before which the model is loaded anew (two swaps, one restart)."""
TURNS, REPLY, THOUGHT = 30, 80, 30
SAMPLING = Sampling(temperature=0, max_tokens=REPLY)


class Script:
    """Counts the tokens that are evaluated, and those that are new: in no earlier prompt or reply at this place."""

    def __init__(self, file: Path, root: Path, *, thinks: bool) -> None:
        self.file, self.root, self.thinks = file, root, thinks
        self.random = random.Random(1)
        self.turns = [Message("system", self.text(300))]
        self.seen: list[Any] = []
        self.read = self.new = 0

    def text(self, most: int = 150) -> str:
        return "".join(self.random.choices("abcdefgh ijklm.", k=self.random.randint(most // 3, most)))

    def run(self) -> float:
        """The ratio of evaluated to new tokens."""
        turn = 0
        while turn < TURNS:
            with loaded(self.file, self.root) as model:
                while turn < TURNS:
                    self.turns.append(Message("user", self.text()))
                    self.answer(model)
                    if turn in AGAIN:
                        self.turns.pop()
                        self.answer(model)
                    if turn in EDITED:
                        users = [n for n, each in enumerate(self.turns) if each.role == "user"]
                        del self.turns[users[-1 - EDITED[turn]] :]
                        self.turns.append(Message("user", self.text()))
                        self.answer(model)
                    turn += 1
                    if turn in RELOADED:
                        break
        return self.read / self.new

    def answer(self, model: InstructModel) -> None:
        prompt = model.fit(self.turns, REPLY)
        tokens = np.asarray(prompt.tokens, np.int32)
        known = max((common(each, tokens) for each in self.seen), default=0)
        *pieces, end = model.stream(prompt, SAMPLING, session="01")
        assert isinstance(end, Completion)
        self.read += end.prompt_tokens - end.reused_tokens
        self.new += max(1, end.prompt_tokens - known)
        self.seen.append(model.llama.input_ids[: model.llama.n_tokens].astype(np.int32))
        text = "".join(piece for piece in pieces if isinstance(piece, str))
        # A template that drops thoughts renders the reply without them.
        self.turns.append(Message("assistant", text[THOUGHT:] if self.thinks else text))


@pytest.mark.slow
@pytest.mark.parametrize("thinks", [False, True], ids=["plain", "thinks"])
@pytest.mark.parametrize("family", FAMILIES)
def test_few_tokens_are_evaluated_twice(family: str, thinks: bool, tmp_path: Path) -> None:
    script = Script(FAMILIES[family](tmp_path / "model.gguf"), tmp_path / "sessions", thinks=thinks)
    assert script.run() <= (1.05 if family in ATTENTION else 1.5)
