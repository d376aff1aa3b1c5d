"""Checkpoints: how many are kept, which, what they take, and that none of other tokens is used."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.llama.calls import clear_memory
from core.llama.checkpoints import SPACING, TAIL, Checkpoint
from core.llama.engine import load_as
from core.llama.instruct import Completion, InstructModel, Message
from core.llama.simulate import simulate
from core.memory.footprint import CHECKPOINT_BYTES, estimate, kept_for, overhead
from core.roles import Role
from core.settings import Sampling
from tests.architectures.families import ATTENTION, FAMILIES, HYBRID, RECURRENT, WINDOWED
from tests.architectures.windowed import gemma3
from tests.core.conftest import spec_of
from tests.core.llama.test_session_walks import logits_of

UNCUTTABLE = [*WINDOWED, *RECURRENT, *HYBRID]
ONE = Sampling(temperature=0, max_tokens=1)
MIB = 1024**2


def model_of(family: str, folder: Path, context: int = 1024) -> InstructModel:
    return load_as(InstructModel, spec_of(FAMILIES[family](folder / "model.gguf"), Role.INSTRUCT, context))


def read(model: InstructModel, *texts: str) -> Completion:
    """Prefill a conversation; the assistant's turns are among the texts."""
    turns = [Message("assistant" if n % 2 else "user", text) for n, text in enumerate(texts)]
    *_, end = model.stream(model.fit(turns, 1), ONE)
    assert isinstance(end, Completion)
    return end


def positions(model: InstructModel) -> list[int]:
    return [len(each.tokens) for each in model._checkpoints.kept]


def test_two_to_four_are_kept_by_their_bytes() -> None:
    budget = CHECKPOINT_BYTES
    sizes = (0, 50 * MIB, budget // 3, budget // 2, budget, 9 * budget)
    assert [kept_for(size) for size in sizes] == [4, 4, 3, 2, 2, 2]


@pytest.mark.parametrize("family", UNCUTTABLE)
def test_one_is_near_the_end_of_a_prompt_and_one_where_a_turn_begins(family: str, tmp_path: Path) -> None:
    model = model_of(family, tmp_path)
    first = read(model, "a" * 100)
    assert positions(model) == [first.prompt_tokens - TAIL]
    # The template's last mark is not in the history; the checkpoint before it is.
    second = read(model, "a" * 100, "b" * 100, "c" * 100)
    assert second.reused_tokens in (first.prompt_tokens - TAIL, first.prompt_tokens - 1)
    assert positions(model) == [first.prompt_tokens - TAIL, second.prompt_tokens - TAIL]
    # Where prompts diverge once, they may again: here the last message is edited.
    begin = second.prompt_tokens - 100 - TAIL
    read(model, "a" * 100, "b" * 100, "d" * 100)
    third = read(model, "a" * 100, "b" * 100, "e" * 100)
    assert third.reused_tokens >= begin - SPACING
    model.close()


@pytest.mark.parametrize("family", ATTENTION)
def test_attention_needs_none(family: str, tmp_path: Path) -> None:
    model = model_of(family, tmp_path)
    read(model, "a" * 100)
    assert read(model, "a" * 100, "b" * 100, "c" * 100).reused_tokens > 100
    assert not positions(model)
    model.close()


def test_older_checkpoints_are_farther_apart(tmp_path: Path) -> None:
    model = model_of("mamba2", tmp_path, context=8192)
    texts = ["a" * 100]
    for _ in range(30):
        read(model, *texts)
        texts += ["b" * 100, "c" * 100]
    places = positions(model)
    gaps = [after - before for before, after in pairwise(places)]
    assert len(places) == 4
    assert gaps == sorted(gaps, reverse=True)
    assert places[0] < 2 * places[-1] / 3
    model.close()


@pytest.mark.parametrize("family", UNCUTTABLE)
def test_a_checkpoint_of_other_tokens_is_not_used(family: str, tmp_path: Path) -> None:
    """Another caller may have used the memory since, as DSPy's engine does; a checkpoint alone is half of one."""
    model = model_of(family, tmp_path)
    read(model, "a" * 100)
    (old,) = model._checkpoints.kept
    clear_memory(model.llama)
    model.llama.n_tokens = 0
    assert model._eval(model.fit([Message("user", "b" * 100)], 1).tokens)
    assert model._checkpoints.kept == [old]
    assert read(model, "a" * 100, "c", "d").reused_tokens < 20
    found = logits_of(model)
    clear_memory(model.llama)
    model.llama.n_tokens = 0
    read(model, "a" * 100, "c", "d")
    assert np.corrcoef(found, logits_of(model))[0, 1] > 0.999
    model.close()


@pytest.mark.parametrize("family", UNCUTTABLE)
@pytest.mark.parametrize("size", [0, 9, 1000])
def test_a_damaged_checkpoint_is_not_used(family: str, size: int, tmp_path: Path) -> None:
    model = model_of(family, tmp_path)
    read(model, "a" * 100)
    if family in WINDOWED:  # as after a restore
        (whole,) = model._checkpoints.kept
        model._checkpoints._load(whole)
        model.llama.n_tokens = len(whole.tokens)
    kept = model._checkpoints.kept
    model._checkpoints.kept = [Checkpoint(each.tokens[:60], each.data[:size]) for each in kept]
    assert read(model, "a" * 70, "c", "d").reused_tokens == 0
    model.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_plan_counts_them(family: str, tmp_path: Path) -> None:
    model = model_of(family, tmp_path)
    spec = model.spec
    read(model, "a" * 100)
    planned = simulate(spec).overhead - overhead(spec)
    (size,) = {each.data.nbytes for each in model._checkpoints.kept} or {0}
    # llama.cpp's log has two digits of a mebibyte.
    assert planned == pytest.approx(kept_for(size) * size, abs=4 * 0.006 * MIB)
    assert planned == pytest.approx(estimate(spec).overhead - overhead(spec), abs=4 * 0.006 * MIB)
    assert (planned > 0) == (family in UNCUTTABLE and size > 0.005 * MIB)
    model.close()


def test_a_window_as_long_as_the_context_needs_none(tmp_path: Path) -> None:
    file = gemma3.write(tmp_path / "model.gguf", replace(gemma3.SMALL, window=256))
    model = load_as(InstructModel, spec_of(file, Role.INSTRUCT, 256))
    assert not model._checkpoints._needed
    assert simulate(model.spec).overhead == overhead(model.spec)
    model.close()
