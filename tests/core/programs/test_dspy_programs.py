"""Programs as anybody writes them for `dspy.LM`, unchanged, on a tiny model: with our adapter and DSPy's own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import dspy
import pytest
from dspy.utils.callback import BaseCallback

from core.dspy_lm.adapters import JSONAdapter
from core.dspy_lm.engine import make_lm
from core.llama.engine import InstructModel, load_as
from core.model_files.spec import resolve
from core.paths import find_paths
from core.roles import Role
from core.settings import Sampling
from core.settings_file import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTEXT = 16_384
"""Enough for the prompts of Refine, which are long."""


class Mood(dspy.Signature):  # type: ignore[misc]  # dspy is untyped
    """Name the mood of the diary entry."""

    text: str = dspy.InputField()
    mood: Literal["joyful", "calm", "sad"] = dspy.OutputField()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstructModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARLIE_HOME", str(tmp_path_factory.mktemp("home")))
        spec = resolve(load_settings(), find_paths(), Role.INSTRUCT)
        model = load_as(InstructModel, replace(spec, context_length=CONTEXT))
    yield model
    model.close()


@pytest.fixture(autouse=True)
def lm(model: InstructModel) -> Iterator[Any]:
    """The model that every program in the test uses."""
    lm = make_lm(model, sampling=Sampling(temperature=0.8, max_tokens=160, seed=5))
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True, restrict_pickle=True)
    with dspy.context(lm=lm, adapter=JSONAdapter(), num_threads=1):
        yield lm


def test_predict(lm: Any) -> None:
    assert dspy.Predict(Mood)(text="I laughed all day.").mood in ("joyful", "calm", "sad")
    assert len(lm.history) == 1


def test_dspys_own_adapters(lm: Any) -> None:
    for adapter in (None, dspy.ChatAdapter(), dspy.JSONAdapter()):
        with dspy.context(adapter=adapter):
            assert dspy.ChainOfThought(Mood)(text="I laughed all day.").mood in ("joyful", "calm", "sad")
    assert lm.history


def test_chain_of_thought() -> None:
    answer = dspy.ChainOfThought("question -> number: int")(question="How many?")
    assert isinstance(answer.reasoning, str)
    assert isinstance(answer.number, int)


@pytest.mark.slow
def test_react_calls_its_tools() -> None:
    called = []

    def look_up(day: str = "", who: str = "") -> str:
        """What happened on a day."""
        called.append((day, who))
        return "I met Anna."

    answer = dspy.ReAct("question -> answer", tools=[look_up], max_iters=3)(question="Whom did I meet?")
    assert isinstance(answer.answer, str)
    names = [value for key, value in answer.trajectory.items() if key.startswith("tool_name")]
    assert names
    assert set(names) <= {"look_up", "finish"}
    assert sum("I met Anna" in str(value) for value in answer.trajectory.values()) == len(called)


def test_program_of_thought_asks_for_code(lm: Any) -> None:
    class Interpreter:
        """Runs nothing: whatever the model writes is refused, and asked for again."""

        def __init__(self) -> None:
            self.tools: dict[str, Any] = {}

        def start(self) -> None: ...
        def shutdown(self) -> None: ...
        def execute(self, code: str, variables: Any = None) -> Any:  # noqa: ARG002
            raise SyntaxError("not in this test")

    with pytest.warns(DeprecationWarning, match="ProgramOfThought"):
        program = dspy.ProgramOfThought("question -> answer", max_iters=2, interpreter_factory=Interpreter)
    with pytest.raises(RuntimeError):
        program(question="2 + 2?")
    assert len(lm.history) >= 2


def test_multi_chain_comparison() -> None:
    attempts = [dspy.Prediction(reasoning=f"Thought {n}.", answer=f"{n}") for n in range(3)]
    with pytest.warns(DeprecationWarning, match="prefix"):
        program = dspy.MultiChainComparison("question -> answer")
    answer = program(attempts, question="How many?")
    assert isinstance(answer.answer, str)


@pytest.mark.slow
def test_best_of_n_and_refine_try_again(lm: Any) -> None:
    seen: list[str] = []

    def reward(_: Any, prediction: Any) -> float:
        seen.append(prediction.answer)
        return float(len(seen) == 3)

    program = dspy.Predict("question -> answer")
    dspy.BestOfN(program, N=3, reward_fn=reward, threshold=1.0)(question="How was it?")
    assert len(seen) == 3
    assert len(set(seen)) > 1, "each try is another answer"
    seen.clear()
    dspy.Refine(program, N=2, reward_fn=reward, threshold=1.0)(question="And then?")
    assert len(seen) == 2
    assert lm.history


def test_parallel_and_evaluate() -> None:
    program = dspy.Predict(Mood)
    texts = ["I laughed.", "It rained.", "I slept well."]
    examples = [dspy.Example(text=text, mood="calm").with_inputs("text") for text in texts]
    found = dspy.Parallel(num_threads=2, disable_progress_bar=True)([(program, example) for example in examples])
    assert len(found) == 3
    assert all(each.mood for each in found)
    result = dspy.Evaluate(devset=examples, metric=lambda e, p, _=None: e.mood == p.mood, num_threads=1)(program)
    assert 0 <= result.score <= 100


async def test_async_and_streamify_with_a_listener() -> None:
    answer = await dspy.ChainOfThought("question -> answer").acall(question="What else?")
    assert isinstance(answer.answer, str)
    listener = dspy.streaming.StreamListener(signature_field_name="answer")
    stream = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=[listener])
    parts = [part async for part in stream(question="What was it?")]
    assert isinstance(parts[-1], dspy.Prediction)
    chunks = [part.chunk for part in parts if isinstance(part, dspy.streaming.StreamResponse)]
    # Of a JSON object DSPy streams the field as it stands there, with its quotes.
    assert parts[-1].answer in ("".join(chunks).strip(), "".join(chunks).strip()[1:-1])
    assert len(chunks) > 1


async def test_many_async_calls_take_turns() -> None:
    program = dspy.Predict(Mood)
    found = await asyncio.gather(*(program.acall(text=f"Day {n}.") for n in range(4)))
    assert all(each.mood for each in found)


def test_callbacks_usage_and_history(lm: Any) -> None:
    class Seen(BaseCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.started, self.ended = 0, 0

        def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
            self.started += 1

        def on_lm_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:  # noqa: ARG002
            self.ended += exception is None

    seen = Seen()
    with dspy.context(callbacks=[seen]), dspy.track_usage() as usage:
        dspy.Predict(Mood)(text="A walk.")
    assert seen.started == seen.ended == len(lm.history)
    (total,) = usage.get_total_tokens().values()
    assert total["completion_tokens"] == sum(call["usage"]["completion_tokens"] for call in lm.history)
    assert total["prompt_tokens"] > 0
    assert lm.history[-1]["messages"][-1]["content"]


def test_save_and_load(tmp_path: Path) -> None:
    program = dspy.ChainOfThought(Mood)
    program.predict.signature = program.predict.signature.with_instructions("Say how it felt.")
    program.predict.demos = [dspy.Example(text="I cried.", reasoning="Tears.", mood="sad")]
    program.save(tmp_path / "program.json")
    loaded = dspy.ChainOfThought(Mood)
    loaded.load(tmp_path / "program.json")
    assert loaded.predict.signature.instructions == "Say how it felt."
    assert loaded.predict.demos[0]["mood"] == "sad"
    assert loaded(text="I sang.").mood
