"""Models that think before they answer: parted, counted, cut at their budget, and switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.llama.engine import InstructModel, load_as
from core.llama.instruct import Completion, FinishReason, FittedPrompt, Message, Thought
from core.roles import Role
from core.settings import Sampling, Thinking
from tests.architectures.sized_file import Words
from tests.architectures.windowed import gpt_oss
from tests.core.conftest import spec_of
from tests.llama_source import published_templates
from tests.model_variants import cut, write_chain

THOUGHT = "The person asks who it was.\n\nEntry [2] may tell.\n\nOr [3], but no."
ANSWER = "It was the river [1]."
SAID = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"
TURNS = "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}assistant:"
OPENED = TURNS + "{% if enable_thinking is defined and enable_thinking %}<think>{% else %}<think></think>{% endif %}"
GREEDY = Sampling(temperature=0, max_tokens=40)
HELLO = [Message("user", "Who was it?")]

Load = Callable[..., InstructModel]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Load]:
    """Loads a model that always says the same."""
    models: list[InstructModel] = []

    def load_chain(
        pieces: list[str], template: str | None = None, *, context: int = 2048, **options: object
    ) -> InstructModel:
        file = write_chain(tmp_path / f"{len(models)}.gguf", pieces, template, **options)  # type: ignore[arg-type]
        models.append(load_as(InstructModel, spec_of(file, Role.INSTRUCT, context_length=context)))
        return models[-1]

    yield load_chain
    for model in models:
        model.close()


def said(model: InstructModel, prompt: FittedPrompt, sampling: Sampling = GREEDY) -> tuple[str, str, Completion]:
    *pieces, end = model.stream(prompt, sampling)
    assert isinstance(end, Completion)
    thought = "".join(piece.text for piece in pieces if isinstance(piece, Thought))
    return thought.strip(), "".join(piece for piece in pieces if isinstance(piece, str)), end


def detokenized(model: InstructModel, tokens: list[int]) -> str:
    """These vocabularies have no token for a blank."""
    return model.llama.detokenize(tokens, special=True).decode().replace("\u2581", " ")


@pytest.mark.parametrize("length", [1, 3, 7, 40])
def test_a_thought_is_no_part_of_the_answer(chain: Load, length: int) -> None:
    model = chain(cut(SAID, length), ends=True)
    thought, answer, end = said(model, model.fit(HELLO, 40))
    assert (thought, answer) == (THOUGHT, ANSWER)
    assert end.finish_reason is FinishReason.STOP
    assert not end.reasoning_cut
    assert end.reasoning_s > 0
    assert end.reasoning_tokens + end.completion_tokens == len(cut(SAID, length))
    assert 0 < end.completion_tokens <= len(ANSWER)


def test_max_tokens_count_the_answer_alone(chain: Load) -> None:
    model = chain(cut(SAID, 5), ends=True)
    thought, answer, end = said(model, model.fit(HELLO, 3), Sampling(temperature=0, max_tokens=3))
    assert thought == THOUGHT
    assert ANSWER.startswith(answer)
    assert len(answer) >= 10
    assert (end.completion_tokens, end.finish_reason) == (3, FinishReason.LENGTH)
    assert end.reasoning_tokens > 10


def test_a_template_that_opens_the_thought(chain: Load) -> None:
    model = chain(cut(SAID.removeprefix("<think>"), 5), OPENED, ends=True)
    for options in ({"thinking": Thinking.AUTO}, {"thinking": Thinking.ON}):
        thought, answer, end = said(model, model.fit(HELLO, 3, **options), GREEDY)  # type: ignore[arg-type]
        assert (thought, answer) == (THOUGHT, ANSWER)
        assert end.reasoning_tokens > 10
    text = SAID.removeprefix("<think>").strip()
    assert said(model, model.fit(HELLO, 3, thinking=Thinking.OFF))[:2] == ("", text), (
        "its own </think> has no beginning"
    )


def test_a_thought_over_its_budget_is_closed_and_the_answer_begins(chain: Load) -> None:
    model = chain(
        ["<think>", "One", " and", " on", " and ", "on", "It was", " the", " river."], after_newline="It was", ends=True
    )
    whole, _, end = said(model, model.fit(HELLO, 40), GREEDY.model_copy(update={"thinking_tokens": 4}))
    assert (whole, end.reasoning_tokens, end.reasoning_cut) == ("One and on", 4, True)
    _, answer, end = said(model, model.fit(HELLO, 40), GREEDY.model_copy(update={"thinking_tokens": 2}))
    assert answer == "It was the river."
    assert (end.reasoning_tokens, end.completion_tokens, end.reasoning_cut) == (2, 3, True)
    held = detokenized(model, model.llama.input_ids[: model.llama.n_tokens].tolist())
    assert held.endswith("<think>One </think>\n\nIt was the river."), "the closing mark is in the KV cache"


def test_a_budget_of_nothing_closes_a_thought_that_the_template_opens(chain: Load) -> None:
    model = chain(["Well", " well", "It was", " me."], OPENED, after_newline="It was", ends=True)
    prompt = model.fit(HELLO, 40, thinking=Thinking.ON)
    thought, answer, end = said(model, prompt, GREEDY.model_copy(update={"thinking_tokens": 0}))
    assert (thought, answer, end.reasoning_tokens, end.reasoning_cut) == ("", "It was me.", 0, True)


def test_a_thought_never_takes_the_whole_context(chain: Load) -> None:
    model = chain(["<think>", "on", " and"], context=128)
    prompt = model.fit([Message("user", "x" * 500)], 40, thinking=Thinking.ON, thinking_tokens=10_000)
    assert len(prompt.tokens) <= 88, "a quarter or more is the prompt's, and the rest its completion's"
    thought, _, end = said(model, prompt)
    assert thought
    assert end.reasoning_cut
    assert model.llama.n_tokens <= 128
    assert end.completion_tokens > 5, "after the cut, another thought counts as the answer"


def test_a_prompt_leaves_room_for_the_thought_where_the_template_has_one(chain: Load) -> None:
    turns = [Message("user", "x" * 400), Message("assistant", "y" * 400)] * 4 + HELLO
    plain, thinks = chain(["a"], TURNS), chain(["a"], OPENED)
    options = {"thinking": Thinking.AUTO, "thinking_tokens": 1000}
    assert len(plain.fit(turns, 40, **options).tokens) > 2048 - 1040  # type: ignore[arg-type]
    assert len(thinks.fit(turns, 40, **options).tokens) <= 2048 - 1040  # type: ignore[arg-type]
    assert len(thinks.fit(turns, 40, thinking=Thinking.OFF, thinking_tokens=1000).tokens) > 2048 - 1040


def test_marks_that_are_control_tokens_are_seen(chain: Load) -> None:
    marks = ("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>")
    pieces = [marks[0], "Well", " [2]", *marks[1:3], "Yes", ".", marks[3]]
    model = chain(pieces, TURNS + "{# <|START_RESPONSE|> #}", ends=True, control=marks)
    thought, answer, end = said(model, model.fit(HELLO, 40))
    assert (thought, answer) == ("Well [2]", "Yes.")
    assert end.finish_reason is FinishReason.STOP
    closed, answer, end = said(model, model.fit(HELLO, 40), GREEDY.model_copy(update={"thinking_tokens": 2}))
    assert (closed, answer, end.reasoning_cut) == ("Well", "Yes.", True), "the marks were evaluated as tokens"


def test_other_control_tokens_stay_out_of_the_text(chain: Load) -> None:
    pieces = ["<|odd|>", "Yes", ".", "<|even|>", " No"]
    model = chain(pieces, ends=True, control=("<|odd|>", "<|even|>"))
    assert said(model, model.fit(HELLO, 40))[:2] == ("", "Yes. No")


def test_a_model_that_ends_within_its_thought_has_no_answer(chain: Load) -> None:
    model = chain(["<think>", "Well"], ends=True)
    thought, answer, end = said(model, model.fit(HELLO, 40))
    assert (thought, answer, end.finish_reason) == ("Well", "", FinishReason.STOP)
    assert (end.completion_tokens, end.reasoning_tokens) == (0, 2)


def test_a_model_without_thoughts_counts_every_token(chain: Load) -> None:
    model = chain(["\n", "  ", "\n ", "Yes", ".", " No"], ends=True)
    _, answer, end = said(model, model.fit(HELLO, 40))
    assert answer == "Yes. No"
    assert (end.completion_tokens, end.reasoning_tokens, end.reasoning_s) == (6, 0, 0)


@pytest.mark.slow
def test_gpt_oss_answers_ten_turns_by_its_own_template(tmp_path: Path) -> None:
    text = "<|channel|>analysis<|message|>Mira [2] waits.<|end|><|start|>assistant<|channel|>final<|message|>I am here."
    template = published_templates()["openai-gpt-oss-120b"].read_text("utf-8")
    file = gpt_oss.write(tmp_path / "gpt-oss.gguf", words=Words(template, chain=cut(text, 5)))
    model = load_as(InstructModel, spec_of(file, Role.INSTRUCT))
    turns = [Message("system", "Be kind.")]
    for number in range(10):
        turns.append(Message("user", f"Question {number}?"))
        prompt = model.fit(turns, 40, thinking=Thinking.AUTO, thinking_tokens=100)
        assert (prompt.note, prompt.left_out, prompt.stops) == ("", 0, ())
        thought, answer, end = said(model, prompt)
        assert (thought, answer, end.finish_reason) == ("Mira [2] waits.", "I am here.", FinishReason.STOP)
        turns.append(Message("assistant", answer, thought))
    shown = detokenized(model, prompt.tokens)
    assert shown.count("<|start|>assistant<|channel|>final<|message|>I am here.<|end|>") == 9
    assert "Mira" not in shown, "earlier thoughts are not sent again"
    assert "Reasoning: medium" in shown
    assert shown.endswith("Question 9?<|end|><|start|>assistant")
    low = detokenized(model, model.fit(turns[:-1], 40).tokens)
    assert "Reasoning: low" in low, "it cannot be told not to think"
    end = said(model, prompt, GREEDY.model_copy(update={"thinking_tokens": 8}))[2]
    held = detokenized(model, model.llama.input_ids[: model.llama.n_tokens].tolist())
    assert "<|end|><|start|>assistant<|channel|>final<|message|>" in held.removeprefix(shown)
    assert (end.reasoning_cut, end.reasoning_tokens) == (True, 8)
    model.close()
