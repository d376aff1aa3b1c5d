"""The DSPy engine over a real llama.cpp model, a tiny one."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import sys
import threading
import unicodedata
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import dspy
import pydantic
import pytest
from dspy import lm15

from core.dspy_lm.engine import lock_of, make_lm, model_id
from core.errors import CancelledError
from core.llama.engine import InstructModel, load_as
from core.model_files.spec import resolve
from core.paths import find_paths
from core.roles import Role
from core.settings import Sampling
from core.settings_file import load_settings
from tests.waiting import join

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def load(**instruct: Any) -> InstructModel:
    return load_as(InstructModel, resolve(load_settings(instruct=instruct), find_paths(), Role.INSTRUCT))


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARLIE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def model() -> Iterator[InstructModel]:
    model = load()
    yield model
    model.close()


@pytest.fixture(autouse=True)
def _memory_cache() -> None:
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True, restrict_pickle=True)


def lm_of(model: InstructModel, **sampling: Any) -> Any:
    return make_lm(model, sampling=Sampling(**{"temperature": 1.0, "max_tokens": 64, "seed": 7} | sampling))


def usage(lm: Any) -> dict[str, Any]:
    """Of the last call; empty when the cache answered."""
    found: dict[str, Any] = lm.history[-1]["usage"]
    return found


class Season(Enum):
    SPRING = "spring"
    AUTUMN = 'autumn "mild" \\ 秋'


class Place(pydantic.BaseModel):
    name: str
    visits: int
    tags: list[str]


TYPES: list[Any] = [
    str,
    int,
    float,
    bool,
    Literal["yes", "no"],
    Literal[1, 2, 3],
    Season,
    list[str],
    list[int],
    list[float],
    list[bool],
    list[Season],
    list[Literal["a", "b"]],
    list[list[int]],
    int | None,
    str | None,
    Place,
    list[Place],
    list[Place | None],
    float | None,
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_every_type_parses_at_the_first_try(model: InstructModel, kind: Any, temperature: float) -> None:
    lm = lm_of(model, temperature=temperature, max_tokens=200)
    fields: dict[str, Any] = {"question": (str, dspy.InputField()), "first": (kind, dspy.OutputField())}
    fields["why"] = (str, dspy.OutputField())
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        for number in range(3):
            answer = dspy.Predict(dspy.Signature(fields))(question=f"Number {number}?")
            pydantic.TypeAdapter(kind).validate_python(answer.first)
    assert len(lm.history) == 3, "one call for each answer"
    for entry in lm.history:
        assert entry["usage"]["completion_tokens"] < 200
        text = entry["outputs"][0]
        assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cs")]
        json.loads(text)


def test_litellm_is_never_loaded(model: InstructModel) -> None:
    lm_of(model)("hello")
    assert "litellm" not in sys.modules


def test_max_tokens_stop_and_temperature_are_honoured(model: InstructModel) -> None:
    lm = lm_of(model, temperature=0.0)
    (text,) = lm("hello", max_tokens=5)
    assert usage(lm)["completion_tokens"] == 5
    (whole,) = lm("hello", max_tokens=40)
    assert whole.startswith(text)
    middle = whole[10:14]
    assert lm("hello", max_tokens=40, stop=[middle]) == [whole[: whole.index(middle)]]
    again = lm("hello", max_tokens=40, rollout_id=None, cache=False)
    assert again == [whole], "temperature 0 has one answer"


def test_rollouts_differ_and_a_seed_makes_the_row_of_them_the_same(model: InstructModel) -> None:
    def rollouts() -> list[str]:
        lm = lm_of(model, temperature=2.0)
        return [lm("hello", rollout_id=number, cache=False)[0] for number in range(1, 5)]

    first = rollouts()
    assert len(set(first)) > 1
    assert rollouts() == first


def test_a_stream_is_the_completion_in_pieces(model: InstructModel) -> None:
    lm = lm_of(model, temperature=0.0)
    request = lm15.Request(model=lm.model, messages=(lm15.Message.user("hello"),))
    events = list(lm.engine.stream(request))
    kinds = [event.type for event in events]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert kinds.count("delta") > 2
    text = "".join(event.delta.text for event in events if isinstance(event, lm15.StreamDeltaEvent))
    assert text == lm.engine.complete(request).text


def test_the_lock_is_free_after_a_stream_that_was_given_up(model: InstructModel) -> None:
    lm = lm_of(model)
    request = lm15.Request(model=lm.model, messages=(lm15.Message.user("hello"),))
    events = lm.engine.stream(request)
    assert [next(events).type for _ in range(2)] == ["start", "delta"]
    assert lock_of(model.llama).locked()
    events.close()
    assert not lock_of(model.llama).locked()
    assert lm("hello")[0]


def test_threads_take_turns(model: InstructModel) -> None:
    lms = [lm_of(model, max_tokens=20), lm_of(model, max_tokens=21)]
    answers: list[str] = []

    def ask(number: int) -> None:
        answers.extend(lms[number % 2](f"hello {number}"))

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    join(*threads)
    assert len(answers) == 8
    assert all(answers)


def test_cancelling_ends_the_call_and_frees_the_model(model: InstructModel) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    lm = make_lm(model, cancelled=cancelled)
    with pytest.raises(dspy.LMError) as stopped:
        lm("hello")
    assert isinstance(stopped.value.__cause__, CancelledError)
    assert asked >= 3
    assert lm("hello")[0]


async def test_an_async_call_that_is_cancelled_stops_its_thread(model: InstructModel) -> None:
    lm = make_lm(model, sampling=Sampling(max_tokens=3000, temperature=2.0))
    request = lm15.Request(model=lm.model, messages=(lm15.Message.user("hello"),))
    (engine,) = [lm._async_engine_spec]
    events = engine.stream(request)
    assert (await anext(events)).type == "start"
    assert (await anext(events)).type == "delta"
    await events.aclose()
    assert not lock_of(model.llama).locked()
    call = asyncio.create_task(engine.complete(request))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await lm.acall("hello", max_tokens=8)


async def test_async_programs_stream(model: InstructModel) -> None:
    with dspy.context(lm=lm_of(model), adapter=dspy.JSONAdapter()):
        answer = await dspy.Predict("question -> answer").acall(question="hello")
        assert isinstance(answer.answer, str)
        program = dspy.streamify(
            dspy.Predict("question -> answer"),
            stream_listeners=[dspy.streaming.StreamListener(signature_field_name="answer")],
        )
        parts = [part async for part in program(question="hello again")]
    assert isinstance(parts[-1], dspy.Prediction)
    pieces = [part.chunk for part in parts if isinstance(part, dspy.streaming.StreamResponse)]
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == parts[-1].answer, "DSPy streams the field as JSON"


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()], ids=["chat", "json"])
def test_a_prompt_beyond_the_context_is_dspys_own_error(model: InstructModel, adapter: Any) -> None:
    lm = lm_of(model)
    with dspy.context(lm=lm, adapter=adapter), pytest.raises(dspy.ContextWindowExceededError, match="2048"):
        dspy.Predict("question -> answer")(question="long ago " * 5000)
    assert lm("hello")[0]


def test_an_answer_that_the_budget_cannot_hold_is_refused(model: InstructModel) -> None:
    with (
        dspy.context(lm=lm_of(model, max_tokens=3), adapter=dspy.JSONAdapter()),
        pytest.raises(dspy.LMInvalidRequestError, match="only 3 are allowed"),
    ):
        dspy.Predict("question -> answer: float")(question="hello")


def test_a_closed_model_is_an_error() -> None:
    closed = load(context_length=512)
    lm = lm_of(closed)
    closed.close()
    with pytest.raises(dspy.LMError, match="The model is closed"):
        lm("hello")
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()), pytest.raises(dspy.LMError, match="The model is closed"):
        dspy.Predict("question -> answer")(question="hello")


def test_copies_share_the_engine(model: InstructModel) -> None:
    lm = lm_of(model)
    program = dspy.Predict("question -> answer")
    program.lm = lm
    twin = program.deepcopy()
    assert twin.lm.engine is lm.engine
    assert copy.deepcopy(lm).engine is lm.engine
    assert lm.copy(temperature=0.5, rollout_id=3).engine is lm.engine


def test_models_never_share_a_cached_answer(model: InstructModel, tmp_path: Path) -> None:
    other_file = tmp_path / model.spec.path.name
    shutil.copy(model.spec.path, other_file)
    with other_file.open("ab") as file:
        file.write(b"\0")
    same, other, short = load(), load(file=other_file), load(context_length=512)
    lms = [lm_of(each, temperature=0.0) for each in (model, same, other, short)]
    warmer = lm_of(model, temperature=0.0, top_k=3)
    assert len({lm.model for lm in (*lms, warmer)}) == 4
    assert model_id(model) == model_id(same) == model_id(short) != model_id(other)
    assert lms[0]("hello") == lms[1]("hello")
    assert usage(lms[0]), "the first asked the model"
    assert not usage(lms[1]), "the same file in the same context has the cached answer"
    for lm in (*lms[2:], warmer):
        lm("hello")
        assert usage(lm), "another model asked for itself"
    for each in (same, other, short):
        each.close()


def test_a_saved_program_never_brings_a_model(model: InstructModel, tmp_path: Path) -> None:
    program = dspy.Predict("question -> answer")
    program.lm = lm_of(model)
    program.save(tmp_path / "program.json")
    assert str(model.spec.path) not in (tmp_path / "program.json").read_text()
    with pytest.raises(Exception, match="cannot bring a model"):
        dspy.Predict("question -> answer").load(tmp_path / "program.json", allow_unsafe_lm_state=True)


@pytest.mark.slow
@pytest.mark.parametrize("budget", [2, 20, 300])
def test_any_object_fits_its_budget(model: InstructModel, budget: int) -> None:
    lm = lm_of(model, temperature=2.0, max_tokens=budget)
    config = lm15.Config(response_format={"type": "json_object"})
    request = lm15.Request(model=lm.model, messages=(lm15.Message.user("hello"),), config=config)
    for _ in range(5):
        response = lm.engine.complete(request)
        assert response.finish_reason == "stop"
        assert isinstance(json.loads(response.text), dict)
        assert response.usage.output_tokens <= budget
