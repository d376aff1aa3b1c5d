from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

import pytest

from core.llama.calls import held_tokens
from core.llama.engine import load_as
from core.llama.instruct import Completion, FinishReason, InstructModel, Message, Thought
from core.llama.speculation import COSTS, RATES, Evaluate, PromptLookup
from core.roles import Role
from core.settings import Sampling
from tests.architectures.smollm2 import smollm2
from tests.core.conftest import spec_of
from tests.model_files import Size, write_random

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from core.llama.calls import Llama

DIARY = (
    "On Tuesday the rain stopped at noon, and I walked with Anna along the canal to the old lock. "
    "We counted eleven herons, ate cold pancakes on the bridge, and she told me about the house in Tromso. "
)
QUOTE = [Message("user", f"Repeat this text word by word, and nothing else:\n\n{DIARY * 2}")]
GREEDY = Sampling(temperature=0, max_tokens=100)


class Eager(PromptLookup):
    """Verifies whatever it finds, in the largest batch: what is right with it is right with fewer proposals."""

    _shortest = 1

    def __init__(self, llama: Llama) -> None:
        super().__init__(llama)
        self.sizes: list[int] = []

    def advance(self, token: int, row: int, most: int, evaluate: Evaluate) -> int:
        def recorded(tokens: Sequence[int], proposed: Sequence[int]) -> bool:
            self.sizes.append(len(tokens) + len(proposed))
            return evaluate(tokens, proposed)

        return super().advance(token, row, most, recorded)

    def _fastest(self, most: int) -> int:
        return max((size for size in COSTS if size <= most and self._matched and self._single), default=1)


@pytest.fixture(scope="module")
def smollm() -> Iterator[InstructModel]:
    model = load_as(InstructModel, spec_of(smollm2(), Role.INSTRUCT, context_length=2048))
    yield model
    model.close()


@pytest.fixture(scope="module", params=["F16", "Q8_0", "F32"])
def random(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstructModel]:
    import gguf

    size = Size(words=True, weights=gguf.GGMLQuantizationType[request.param])
    file = write_random(tmp_path_factory.mktemp("random") / "random.gguf", 5, size)
    # Of several threads, each rounds its part of a single token's attention.
    model = load_as(InstructModel, replace(spec_of(file, Role.INSTRUCT), threads=1, prefill_threads=1))
    yield model
    model.close()


def reply(
    model: InstructModel,
    messages: Sequence[Message] = QUOTE,
    sampling: Sampling = GREEDY,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[list[str | Thought], Completion, list[int]]:
    """Pieces, numbers, and tokens in the KV cache after the prompt."""
    prompt = model.fit(messages, sampling.max_tokens)
    *pieces, end = model.stream(prompt, sampling, cancelled=cancelled)
    assert isinstance(end, Completion)
    assert held_tokens(model.llama) == model.llama.n_tokens
    held: list[int] = model.llama.input_ids[len(prompt.tokens) : model.llama.n_tokens].tolist()
    return [piece for piece in pieces if not isinstance(piece, Completion)], end, held


def without(model: InstructModel) -> None:
    model.lookup = PromptLookup(model.llama)
    model.lookup.enabled = False


def batches(model: InstructModel) -> list[int]:
    """From now on the model verifies all that it finds; the sizes of its batches, of one token too."""
    model.lookup = Eager(model.llama)
    return model.lookup.sizes


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [1.0, 1.1])
def test_quotes_are_the_same_and_take_fewer_batches(smollm: InstructModel, penalty: float) -> None:
    sampling = GREEDY.model_copy(update={"repeat_penalty": penalty})
    without(smollm)
    pieces, end, held = reply(smollm, sampling=sampling)
    sizes = batches(smollm)
    assert reply(smollm, sampling=sampling)[::2] == (pieces, held)
    assert len(sizes) < end.completion_tokens * 0.6
    assert max(sizes) == 8


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 9, 100])
def test_random_models_reply_the_same(random: InstructModel, limit: int) -> None:
    """They soon repeat themselves. A batch's logits may differ in the last bits; no reply depends on it."""
    sampling = Sampling(temperature=0, max_tokens=limit)
    messages = [Message("user", "bab dab " * 20)]
    without(random)
    pieces, end, held = reply(random, messages, sampling)
    assert end.completion_tokens == limit
    sizes = batches(random)
    again, repeated, kept = reply(random, messages, sampling)
    assert (again, kept) == (pieces, held)
    assert (repeated.completion_tokens, repeated.finish_reason) == (limit, FinishReason.LENGTH)
    assert limit < 100 or max(sizes) == 8


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_gives_the_same_text(random: InstructModel, seed: int) -> None:
    """The penalties and the draws are those of tokens one by one."""
    sampling = Sampling(temperature=0.6, top_k=3, max_tokens=60, seed=seed, repeat_penalty=1.05)
    messages = [Message("user", "bab dab " * 20)]
    without(random)
    pieces, _, held = reply(random, messages, sampling)
    batches(random)
    assert reply(random, messages, sampling)[::2] == (pieces, held)


def test_the_end_of_the_context_is_the_end(random: InstructModel) -> None:
    sampling = Sampling(temperature=0, max_tokens=10_000)
    messages = [Message("user", "bab dab " * 480)]
    without(random)
    _, end, _ = reply(random, messages, sampling)
    sizes = batches(random)
    _, again, _ = reply(random, messages, sampling)
    assert again.completion_tokens == end.completion_tokens
    assert again.finish_reason is end.finish_reason is FinishReason.LENGTH
    assert random.llama.n_tokens == random.llama.n_ctx()
    assert max(sizes) == 8


@pytest.mark.parametrize("cancels", [True, False])
def test_stopped_within_a_batch(random: InstructModel, *, cancels: bool) -> None:
    """Cancelled, or given up by the caller: in both cases the next reply is right."""
    messages = [Message("user", "bab dab " * 20)]
    without(random)
    pieces, _, _ = reply(random, messages)
    prompt = random.fit(messages, GREEDY.max_tokens)
    for stop in range(70, 80):
        sizes = batches(random)
        seen: list[object] = []
        stream = random.stream(prompt, GREEDY, cancelled=lambda seen=seen, stop=stop: cancels and len(seen) >= stop)  # type: ignore[misc]
        seen.extend(islice(stream, stop))
        assert max(sizes) == 8
        assert seen == pieces[:stop]
        if cancels:
            end = next(stream)
            assert isinstance(end, Completion)
            assert end.finish_reason is FinishReason.CANCELLED
            assert end.completion_tokens == stop
        del stream
        assert held_tokens(random.llama) == random.llama.n_tokens
        assert reply(random, messages)[0] == pieces


def test_off_where_batches_lose_and_tried_again_later(random: InstructModel) -> None:
    lookup = PromptLookup(random.llama)
    lookup._matched = 20
    assert lookup._fastest(100) == 1, "nothing is measured yet"
    lookup._learn(1, 0.01)
    assert lookup._fastest(100) == 8
    assert lookup._fastest(7) == 6, "no more than may be made"
    for _ in range(8):
        for size in COSTS:
            lookup._learn(size, 0.01 * size)
    assert lookup._fastest(100) == 1
    for _ in range(3000):
        lookup._learn(1, 0.01)
    assert lookup._fastest(100) == 8


def test_off_where_proposals_are_rejected(random: InstructModel) -> None:
    """Two tokens often stood there before, and each time another one follows."""
    lookup, ids = PromptLookup(random.llama), random.llama.input_ids
    lookup._learn(1, 0.01)
    lookup._rates = [1.0] * len(RATES)
    fastest = []
    for at in range(180):
        ids[at] = at if at % 3 == 2 else at % 3
        lookup._observe(at)
        if at % 3 == 1 and at > 3:
            assert lookup._matched == 2
            fastest.append(lookup._fastest(100))
    assert fastest[0] > 1
    assert fastest[-1] == 1


@pytest.mark.parametrize("kind", ["mamba", "gemma3"])
def test_nothing_is_proposed_to_a_memory_that_cannot_be_cut(tmp_path: Path, kind: Literal["mamba", "gemma3"]) -> None:
    file = write_random(tmp_path / "model.gguf", 5, Size(words=True, kind=kind))
    with closing(load_as(InstructModel, spec_of(file, Role.INSTRUCT))) as model:
        sizes = batches(model)
        _, end, _ = reply(model, [Message("user", "bab dab " * 40)])
    assert sizes == [1] * (end.completion_tokens - 1)
