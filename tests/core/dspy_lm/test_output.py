"""Thoughts are split off the answer; log probabilities are refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy
import pytest
from dspy import lm15

from core.dspy_lm.adapters import JSONAdapter
from core.dspy_lm.engine import make_lm
from core.llama.engine import InstructModel, load_as
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec
from core.settings import Sampling
from tests.model_files import write_random
from tests.model_variants import cut, write_chain

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def test_a_thought_that_a_template_opens_is_closed(model: InstructModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the template has no switch: a program has a field for what it wants to think."""
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}<think>\n"
    monkeypatch.setitem(model.llama.metadata, "tokenizer.chat_template", template)
    lm = make_lm(model, sampling=Sampling(temperature=1, max_tokens=40, seed=1), cache=False)
    (answer,) = lm("hello")
    assert isinstance(answer, str)
    assert answer
    with dspy.context(lm=lm, adapter=JSONAdapter()):
        found: Any = dspy.Predict("question -> number: int")(question="How many?")
    assert isinstance(found.number, int)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[InstructModel]:
    pieces = cut("<think>\nThe person [2] may.\n</think>\n\nIt was the river [1].", 5)
    model = load_as(InstructModel, default_spec(read_header(write_chain(tmp_path / "chain.gguf", pieces, ends=True))))
    yield model
    model.close()


def test_the_thoughts_of_an_answer_are_beside_its_text(chain: InstructModel) -> None:
    lm = make_lm(chain, sampling=Sampling(temperature=0, max_tokens=40), cache=False)
    (answer,) = lm("hello")
    assert (answer["text"], answer["reasoning_content"].strip()) == ("It was the river [1].", "The person [2] may.")
    request = lm15.Request(model=lm.model, messages=(lm15.Message.user("hello"),))
    thought, text = lm.engine.complete(request).message.parts
    assert isinstance(thought, lm15.ThinkingPart)
    assert text.text == "It was the river [1]."
    streamed = [event.delta for event in lm.engine.stream(request) if isinstance(event, lm15.StreamDeltaEvent)]
    assert isinstance(streamed[0], lm15.ThinkingDelta)
    assert isinstance(streamed[-1], lm15.TextDelta)


@pytest.mark.parametrize(
    ("lead", "mark"),
    [
        ("<|start|>assistant", "<|channel|>final<|message|>"),
        ("<|open|>think<|sep|>", "<|close|>think<|sep|><|open|>response<|sep|>"),
    ],
)
def test_an_answer_with_a_grammar_begins_where_its_family_has_it(
    model: InstructModel, monkeypatch: pytest.MonkeyPatch, lead: str, mark: str
) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}" + lead
    monkeypatch.setitem(model.llama.metadata, "tokenizer.chat_template", template)
    lm = make_lm(model, sampling=Sampling(temperature=0, max_tokens=40), cache=False)
    with dspy.context(lm=lm, adapter=JSONAdapter()):
        found: Any = dspy.Predict("question -> number: int")(question="How many?")
    assert isinstance(found.number, int)
    held = model.llama.detokenize(model.llama.input_ids[: model.llama.n_tokens].tolist(), special=True).decode()
    assert f"{lead}{mark}{{" in held.replace("\u2581", "")


def test_a_program_does_not_think_where_the_template_has_a_switch(
    model: InstructModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = "<think>{% if not enable_thinking %}</think>{% endif %}"
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}" + switch
    monkeypatch.setitem(model.llama.metadata, "tokenizer.chat_template", template)
    (answer,) = make_lm(model, sampling=Sampling(max_tokens=20, seed=1), cache=False)("hello")
    assert isinstance(answer, str)
    assert answer
