"""An untrained model's answers for random signatures parse at the first try."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import dspy
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import Field

from core.dspy_lm.adapters import JSONAdapter
from core.dspy_lm.engine import make_lm
from core.llama.engine import InstructModel, load_as
from core.model_files.gguf import read_header
from core.model_files.spec import default_spec, resolve
from core.paths import find_paths
from core.programs.signatures import THEME_CHARACTERS, TITLE_CHARACTERS, reflection_program, title_program
from core.roles import Role
from core.settings import Sampling
from core.settings_file import load_settings
from tests.core.dspy_lm.signatures import signatures
from tests.model_files import Size, write_random, write_slow

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKENS = 600
QUICK, WHOLE = 25, 300
"""Signatures; `python -m tests.benchmarks.formats` counts the same 300 without a grammar too."""
Note = Annotated[str, Field(max_length=40)]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstructModel]:
    folder = tmp_path_factory.mktemp("untrained")
    file = write_random(folder / "untrained.gguf", size=Size(context=8192))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARLIE_HOME", str(folder))
        configured = load_settings(instruct={"file": file, "context_length": 8192, "threads": 1})
        model = load_as(InstructModel, resolve(configured, find_paths(), Role.INSTRUCT))
    yield model
    model.close()


@pytest.mark.parametrize("text", ["Beans [two rows]", "12", "null", '"quoted"', ""])
def test_a_text_with_bounds_that_may_be_missing_is_taken_as_it_stands(text: str) -> None:
    signature = dspy.Signature({"question": (str, dspy.InputField()), "note": (Note | None, dspy.OutputField())})
    assert JSONAdapter().parse(signature, json.dumps({"note": text})) == {"note": text}


def answers(model: InstructModel, kind: Any, *, tokens: int = TOKENS, seeds: int = 10) -> list[Any]:
    """Answers with one field of this kind, each of one call."""
    found = []
    signature = dspy.Signature({"question": (str, dspy.InputField()), "answer": (kind, dspy.OutputField())})
    for seed in range(seeds):
        lm = make_lm(model, sampling=Sampling(temperature=1.5, max_tokens=tokens, seed=seed), cache=False)
        with dspy.context(lm=lm, adapter=JSONAdapter()):
            found.append(dspy.Predict(signature)(question="What?").answer)
        assert len(lm.history) == 1
    return found


@pytest.mark.parametrize("choices", [("日本", "中国", "🦊🦊"), ("✅", "❌", "🟡"), ("é", "€", "x")], ids=str)
def test_choices_of_characters_of_many_sizes(untrained: InstructModel, choices: tuple[str, ...]) -> None:
    """Overlong UTF-8 would let a shorter character through in the bytes of a longer one."""
    kind: Any = Literal
    assert set(answers(untrained, kind[choices], seeds=20)) <= set(choices)


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
    untrained: InstructModel, bounds: Any, pattern: str, *, missing: bool
) -> None:
    kind: Any = Annotated
    kind = kind[str | None if missing else str, bounds]
    for answer in answers(untrained, kind):
        assert answer is None or re.fullmatch(pattern, answer), answer


def test_a_schema_that_llguidance_refuses_is_an_error(untrained: InstructModel) -> None:
    kind: Any = Annotated
    with pytest.raises(dspy.LMInvalidRequestError, match="float range"):
        answers(untrained, kind[float, Field(ge=1e300)])


def parses(model: InstructModel, signature: Any, tokens: int) -> None:
    """Some answer parses at the first try, within its tokens."""
    lm = make_lm(model, sampling=Sampling(temperature=1.5, max_tokens=tokens, seed=3), cache=False)
    with dspy.context(lm=lm, adapter=JSONAdapter()):
        dspy.Predict(signature)(question="What?")
    (call,) = lm.history
    assert call["usage"]["completion_tokens"] <= tokens


chosen = partial(
    settings,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@chosen(max_examples=QUICK)
@given(signature=signatures)
def test_every_answer_parses_at_the_first_try(untrained: InstructModel, signature: Any) -> None:
    parses(untrained, signature, TOKENS)


@pytest.mark.slow
@chosen(max_examples=WHOLE)
@given(signature=signatures)
def test_each_of_many_answers_parses_at_the_first_try(untrained: InstructModel, signature: Any) -> None:
    parses(untrained, signature, TOKENS)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstructModel]:
    """It writes letters without end, and nothing else where a letter is allowed."""
    file = write_slow(tmp_path_factory.mktemp("slow") / "slow.gguf")
    model = load_as(InstructModel, replace(default_spec(read_header(file)), context_length=4096, threads=1))
    yield model
    model.close()


@pytest.mark.slow
def test_a_model_without_end_reaches_each_declared_length(slow: InstructModel) -> None:
    lm = make_lm(slow, sampling=Sampling(max_tokens=300), cache=False)
    with dspy.context(lm=lm):
        title = title_program()(text="We walked by the river.").title
    assert len(title) == TITLE_CHARACTERS


@pytest.mark.slow
def test_a_model_without_end_is_stopped_in_time(slow: InstructModel) -> None:
    lm = make_lm(slow, sampling=Sampling(max_tokens=100), cache=False)
    with dspy.context(lm=lm):
        answer = reflection_program()(entries="[1] We walked by the river.")
    assert len(answer.themes[0]) == THEME_CHARACTERS
    assert answer.question
    (call,) = lm.history
    assert call["usage"]["completion_tokens"] == 100
