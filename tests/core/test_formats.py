"""Answers of an untrained model in DSPy's two formats, for signatures by chance: they parse at the first try."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

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


@pytest.mark.parametrize("adapter", [JSONAdapter(), ChatAdapter()], ids=["json", "chat"])
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
