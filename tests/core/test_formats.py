"""Answers of an untrained model in DSPy's two formats, for signatures by chance: they parse at the first try."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import dspy
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import Field

from core.engine import InstructModel, load_instruct
from core.lm import make_lm
from core.lm_adapters import ChatAdapter, JSONAdapter
from core.model_files import resolve
from core.paths import find_paths
from core.settings import Role, Sampling, load_settings
from tests.core.signatures import signatures
from tests.model_files import Size, write_random

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES, TOKENS = 15, 600
"""Of each format; `python -m tests.benchmarks.formats` has 300, and the same without a grammar."""
Note = Annotated[str, Field(max_length=40)]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstructModel]:
    folder = tmp_path_factory.mktemp("untrained")
    file = write_random(folder / "untrained.gguf", size=Size(context=8192))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARLIE_HOME", str(folder))
        configured = load_settings(instruct={"file": file, "context_length": 8192})
        model = load_instruct(resolve(configured, find_paths(), Role.INSTRUCT))
    yield model
    model.close()


@pytest.mark.parametrize("text", ["Beans [two rows]", "12", "null", '"quoted"', ""])
def test_a_text_with_bounds_that_may_be_missing_is_taken_as_it_stands(text: str) -> None:
    signature = dspy.Signature({"question": (str, dspy.InputField()), "note": (Note | None, dspy.OutputField())})
    assert JSONAdapter().parse(signature, json.dumps({"note": text})) == {"note": text}


BOTH = pytest.mark.parametrize("adapter", [JSONAdapter(), ChatAdapter()], ids=["json", "chat"])


def answers(model: InstructModel, adapter: Any, kind: Any, *, tokens: int = TOKENS, seeds: int = 10) -> list[Any]:
    """Answers with one field of this kind, each of one call."""
    found = []
    signature = dspy.Signature({"question": (str, dspy.InputField()), "answer": (kind, dspy.OutputField())})
    for seed in range(seeds):
        lm = make_lm(model, sampling=Sampling(temperature=1.5, max_tokens=tokens, seed=seed), cache=False)
        with dspy.context(lm=lm, adapter=adapter):
            found.append(dspy.Predict(signature)(question="What?").answer)
        assert len(lm.history) == 1
    return found


@BOTH
@pytest.mark.parametrize("choices", [("日本", "中国", "🦊🦊"), ("✅", "❌", "🟡"), ("é", "€", "x")], ids=str)
def test_choices_of_characters_of_many_sizes(untrained: InstructModel, adapter: Any, choices: tuple[str, ...]) -> None:
    """llama.cpp lets a shorter character through in the bytes of a longer one."""
    kind: Any = Literal
    assert set(answers(untrained, adapter, kind[choices], seeds=20)) <= set(choices)


@BOTH
@pytest.mark.parametrize(
    ("bounds", "pattern"),
    [
        (Field(min_length=3, max_length=5), "(?s).{3,5}"),
        (Field(pattern="^[a-c]{3}$"), "[a-c]{3}"),
        (Field(pattern="^.{5}$"), ".{5}"),
    ],
    ids=["length", "class", "any"],
)
@pytest.mark.parametrize("missing", [False, True])
def test_bounds_of_a_text_that_may_be_missing(
    untrained: InstructModel, adapter: Any, bounds: Any, pattern: str, *, missing: bool
) -> None:
    kind: Any = Annotated
    kind = kind[str | None if missing else str, bounds]
    for answer in answers(untrained, adapter, kind):
        assert answer is None or re.fullmatch(pattern, answer), answer


@BOTH
@pytest.mark.parametrize("bounds", [Field(min_length=2500), Field(pattern="^a{2500}$")], ids=["length", "pattern"])
def test_a_long_text_is_asked_for_in_pieces(untrained: InstructModel, adapter: Any, bounds: Any) -> None:
    """llama.cpp refuses a grammar with more than 2,000 repetitions in one place."""
    kind: Any = Annotated
    (answer,) = answers(untrained, adapter, kind[str, bounds], tokens=4000, seeds=1)
    assert len(answer) >= 2500


def test_a_grammar_that_llama_cpp_does_not_take_is_an_error(untrained: InstructModel) -> None:
    with pytest.raises(Exception, match=r"more than llama\.cpp's grammars can say"):
        answers(untrained, ChatAdapter(use_json_adapter_fallback=False), Literal["a\0b", "c"])


@BOTH
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(signature=signatures)
def test_every_answer_parses_at_the_first_try(untrained: InstructModel, adapter: Any, signature: Any) -> None:
    lm = make_lm(untrained, sampling=Sampling(temperature=1.5, max_tokens=TOKENS, seed=3), cache=False)
    with dspy.context(lm=lm, adapter=adapter):
        dspy.Predict(signature)(question="What?")
    (call,) = lm.history
    assert call["usage"]["completion_tokens"] <= TOKENS
