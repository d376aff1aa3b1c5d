from __future__ import annotations

import gc
import itertools
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import llama_cpp
import pytest

from core.errors import CancelledError, LoadFailedError, ModelFileError
from core.llama.calls import is_closed
from core.llama.engine import EmbeddingModel, InstructModel, RerankerModel, load, load_as
from core.llama.instruct import Completion, Message
from core.llama.load_options import arguments
from core.llama.session_cache import NOT_RESTORABLE, SessionCache
from core.llama.simulate import simulate
from core.memory.footprint import estimate
from core.model_files.gguf import read_header
from core.model_files.spec import spec_for
from core.roles import Role
from core.settings import RoleSettings, Sampling
from tests.benchmarks.shapes import Shape, write
from tests.core.conftest import spec_of
from tests.model_files import write_random
from tests.waiting import join

if TYPE_CHECKING:
    from pathlib import Path


def test_each_role_has_its_class(tiny: dict[Role, Path]) -> None:
    kinds = {Role.INSTRUCT: InstructModel, Role.EMBEDDING: EmbeddingModel, Role.RERANKER: RerankerModel}
    for role, kind in kinds.items():
        spec = spec_of(tiny[role], role)
        model = load(spec)
        assert type(model) is kind
        assert model.spec is spec
        model.close()
        model.close()


@pytest.mark.parametrize(
    ("cores", "chosen", "decoding", "prefill"),
    [(None, None, 1, 1), (1, None, 1, 1), (2, None, 2, 2), (8, None, 8, 8), (8, 8, 8, 8), (8, 3, 3, 3), (2, 6, 6, 6)],
)
def test_every_core_computes_unless_the_threads_are_set(
    cores: int | None, chosen: int | None, decoding: int, prefill: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    header = read_header(write(tmp_path / "model.gguf", Shape(), hollow=True))
    found = arguments(spec_for(RoleSettings(threads=chosen), header, Role.INSTRUCT))
    assert (found["n_threads"], found["n_threads_batch"]) == (decoding, prefill)


def test_a_very_small_model_has_one_thread(tiny: dict[Role, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for role, file in tiny.items():
        found = arguments(spec_for(RoleSettings(), read_header(file), role))
        assert (found["n_threads"], found["n_threads_batch"]) == (1, 1)


def test_memory_does_not_depend_on_the_threads(tmp_path: Path) -> None:
    spec = spec_of(write_random(tmp_path / "model.gguf"), Role.INSTRUCT)
    more = replace(spec, threads=7, prefill_threads=8)
    assert simulate(more) == simulate(spec)
    assert estimate(more) == estimate(spec)


def test_progress_rises_to_one(tiny: dict[Role, Path]) -> None:
    seen: list[float] = []
    load(spec_of(tiny[Role.INSTRUCT], Role.INSTRUCT), on_progress=seen.append).close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 2


@pytest.mark.parametrize("polls_before", [0, 1, 2])
def test_a_load_can_be_cancelled(tiny: dict[Role, Path], polls_before: int) -> None:
    polls = itertools.count()
    with pytest.raises(CancelledError):
        load(spec_of(tiny[Role.EMBEDDING], Role.EMBEDDING), cancelled=lambda: next(polls) >= polls_before)


def test_a_missing_file(tiny: dict[Role, Path], tmp_path: Path) -> None:
    spec = replace(spec_of(tiny[Role.INSTRUCT], Role.INSTRUCT), path=tmp_path / "gone.gguf")
    with pytest.raises(ModelFileError, match=r"There is no model file .*gone\.gguf"):
        load(spec)


def test_a_model_of_another_kind(tiny: dict[Role, Path]) -> None:
    spec = replace(spec_of(tiny[Role.INSTRUCT], Role.INSTRUCT), path=tiny[Role.EMBEDDING])
    with pytest.raises(ModelFileError, match="needs a generating model"):
        load_as(InstructModel, spec)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"blk.0.attn_q.weight", b"blk.0.attn_x.weight", "attn_q"),
        (b"llama", b"lamma", "lamma"),
    ],
    ids=["a tensor is missing", "an unknown architecture"],
)
def test_damage_outside_the_header(
    tiny: dict[Role, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, old: bytes, new: bytes, reason: str
) -> None:
    data = tiny[Role.INSTRUCT].read_bytes()
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(data.replace(old, new))
    caplog.set_level(logging.ERROR)
    with pytest.raises(LoadFailedError, match=rf"damaged\.gguf could not be loaded: .*{reason}"):
        load(spec_of(damaged, Role.INSTRUCT))
    assert any(record.name == "charlie.llama" for record in caplog.records)
    load(spec_of(tiny[Role.INSTRUCT], Role.INSTRUCT)).close()


def test_llama_cpp_writes_nothing_to_the_terminal(tiny: dict[Role, Path], capfd: pytest.CaptureFixture[str]) -> None:
    load(spec_of(tiny[Role.INSTRUCT], Role.INSTRUCT)).close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("context_length", [1000, 600, 300])
def test_the_context_has_one_length(tiny: dict[Role, Path], tmp_path: Path, context_length: int) -> None:
    """llama.cpp rounds it up to 256 tokens; llama-cpp-python's list of tokens is as long as was asked."""
    long, short = (spec_of(tiny[Role.INSTRUCT], Role.INSTRUCT, length) for length in (1024, context_length))
    for spec in (long, short):
        model = load_as(InstructModel, spec)
        model.sessions = SessionCache(tmp_path, spec, 1 << 30, lambda _: True)
        join(model.sessions._opener)
        assert model.llama.n_ctx() == len(model.llama.input_ids) == spec.context_length
        for words in (10, 5000):
            prompt = model.fit([Message("user", "word " * words)], 8)
            assert len(prompt.tokens) <= spec.context_length - 8
            *_, end = model.stream(prompt, Sampling(temperature=0, max_tokens=2000), session="01")
            assert isinstance(end, Completion)
            assert end.prompt_tokens + end.completion_tokens <= spec.context_length + 1
        model.save_session()
        model.close()
    assert not list(tmp_path.rglob(NOT_RESTORABLE))


def test_a_failed_load_holds_no_memory(tiny: dict[Role, Path], tmp_path: Path) -> None:
    """The file is gone once it is loaded, when the id of its vectors is made from it."""
    file = tmp_path / "embedding.gguf"
    file.write_bytes(tiny[Role.EMBEDDING].read_bytes())
    spec = spec_of(file, Role.EMBEDDING)
    with pytest.raises(OSError, match=r"embedding\.gguf") as failed:
        load(spec, on_progress=lambda done: file.unlink(missing_ok=True) if done == 1 else None)
    held = [each for each in gc.get_objects() if isinstance(each, llama_cpp.Llama)]
    assert failed.value.__traceback__ is not None
    assert not [each for each in held if each.model_path == str(file) and not is_closed(each)]
