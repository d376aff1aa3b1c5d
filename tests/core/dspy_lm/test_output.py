"""Thoughts are split off the answer; log probabilities are refused."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dspy
import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st

from core.dspy_lm.adapters import JSONAdapter
from core.dspy_lm.engine import make_lm
from core.dspy_lm.output import Thoughts
from core.llama.engine import InstructModel, load_as
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.settings import Sampling
from tests.model_files import write_random

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE = [
    ("<think>hm, well</think>\n\nYes.", False, "hm, well", "Yes."),
    ("\n <think>\nhm\n</think>Yes <think>no</think>", False, "\nhm\n", "Yes <think>no</think>"),
    ("still thinking</think> Yes.", True, "still thinking", "Yes."),
    ("never done", True, "never done", ""),
    ("<think>never done </thi", False, "never done </thi", ""),
    ("<thing> is a word", False, "", "<thing> is a word"),
    ("<th", False, "", "<th"),
    ("  Yes.", False, "", "  Yes."),
]


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[begin:end] for begin, end in pairwise(places)]


@pytest.mark.parametrize(("text", "opened", "thought", "answer"), WHOLE)
@given(cuts=st.lists(st.integers(0, 50), max_size=40))
def test_thoughts_are_split_off_wherever_the_text_is_cut(
    text: str, opened: bool, thought: str, answer: str, cuts: list[int]
) -> None:
    thoughts = Thoughts(opened)
    found = [part for piece in pieces(text, cuts) for part in thoughts.split(piece)]
    found += thoughts.split("", last=True)
    assert "".join(part for is_thought, part in found if is_thought) == thought
    assert "".join(part for is_thought, part in found if not is_thought) == answer
    assert all(part for _, part in found)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstructModel]:
    file = write_random(tmp_path_factory.mktemp("random") / "random.gguf")
    model = load_as(InstructModel, default_spec(read_header(file)))
    yield model
    model.close()


def test_log_probabilities_are_refused(model: InstructModel) -> None:
    lm = make_lm(model, sampling=Sampling(max_tokens=6), cache=False)
    with pytest.raises(dspy.LMUnsupportedFeatureError, match="Log probabilities"):
        lm("hello", logprobs=True)


def test_a_prompt_that_opens_the_thoughts(model: InstructModel, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}<think>\n"
    monkeypatch.setitem(model.llama.metadata, "tokenizer.chat_template", template)
    lm = make_lm(model, sampling=Sampling(temperature=1, max_tokens=40, seed=1), cache=False)
    request = lm15.Request(model=lm.model, messages=(lm15.Message.user("hello"),))
    response = lm.engine.complete(request)
    thought, text = response.message.parts
    assert isinstance(thought, lm15.ThinkingPart)
    assert thought.text
    assert text.text == ""
    streamed = [event.delta for event in lm.engine.stream(request) if isinstance(event, lm15.StreamDeltaEvent)]
    assert isinstance(streamed[0], lm15.ThinkingDelta)
    with dspy.context(lm=lm, adapter=JSONAdapter()):
        answer: Any = dspy.Predict("question -> number: int")(question="How many?")
    assert isinstance(answer.number, int), "with a grammar there is no room for thoughts"


def test_the_thoughts_of_an_answer_are_beside_its_text(model: InstructModel, monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}<think>\n"
    monkeypatch.setitem(model.llama.metadata, "tokenizer.chat_template", template)
    (answer,) = make_lm(model, sampling=Sampling(max_tokens=20, seed=1), cache=False)("hello")
    assert answer["reasoning_content"]


def test_a_program_does_not_think_where_the_template_has_a_switch(
    model: InstructModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = "<think>{% if not enable_thinking %}</think>{% endif %}"
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}" + switch
    monkeypatch.setitem(model.llama.metadata, "tokenizer.chat_template", template)
    (answer,) = make_lm(model, sampling=Sampling(max_tokens=20, seed=1), cache=False)("hello")
    assert isinstance(answer, str)
    assert answer
