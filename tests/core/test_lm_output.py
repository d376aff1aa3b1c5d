"""Thoughts that are split off, titles that come whole, and how likely a token was."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dspy
import pytest
from dspy import lm15
from hypothesis import given
from hypothesis import strategies as st

from core.engine import InstructModel, load_instruct
from core.gguf import read_header
from core.lm import make_lm
from core.lm_adapters import JSONAdapter
from core.lm_output import Thoughts, Titles
from core.model_files import describe_spec
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


@given(cuts=st.lists(st.integers(0, 80), max_size=60))
def test_a_title_comes_in_one_piece(cuts: list[int]) -> None:
    text = "[[ ## a ## ]]\nsome [text]\nof it\n\n[[ ## b ## ]]\n7\n\n[[ ## completed ## ]]\n"
    titles = Titles()
    found = [titles.whole(piece) for piece in pieces(text, cuts)] + [titles.whole("", last=True)]
    assert "".join(found) == text
    for title in ("[[ ## a ## ]]", "[[ ## b ## ]]", "[[ ## completed ## ]]"):
        assert sum(title in part for part in found) == 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstructModel]:
    file = write_random(tmp_path_factory.mktemp("random") / "random.gguf")
    model = load_instruct(describe_spec(read_header(file)))
    yield model
    model.close()


def test_log_probabilities_are_those_of_the_chosen_tokens(model: InstructModel) -> None:
    lm = make_lm(model, sampling=Sampling(temperature=0, max_tokens=6), cache=False)
    (answer,) = lm("hello", logprobs=True, top_logprobs=3)
    tokens = answer["logprobs"].content
    assert len(tokens) == 6
    for token in tokens:
        best = [each.logprob for each in token.top_logprobs]
        assert best == sorted(best, reverse=True)
        assert token.logprob == best[0], "at temperature 0 the likeliest is chosen"
        assert 0 < sum(map(math.exp, best)) <= 1
    assert bytes(code for token in tokens for code in token.bytes).decode(errors="replace") == answer["text"]
    (plain,) = lm("hello")
    assert plain == answer["text"]


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
    monkeypatch.setitem(model.llama.metadata, "tokenizer.chat_template", "{{ messages[0]['content'] }}<think>\n")
    (answer,) = make_lm(model, sampling=Sampling(max_tokens=20, seed=1), cache=False)("hello")
    assert answer["reasoning_content"]
