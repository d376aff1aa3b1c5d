from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.engine import EmbeddingModel, InstructModel, RerankerModel, load, load_instruct
from core.errors import CancelledError, LoadFailedError, ModelFileError
from core.settings import Role
from tests.core.conftest import spec_of

if TYPE_CHECKING:
    from pathlib import Path


def test_each_role_has_its_model(starters: dict[Role, Path]) -> None:
    kinds = {Role.INSTRUCT: InstructModel, Role.EMBEDDING: EmbeddingModel, Role.RERANKER: RerankerModel}
    for role, kind in kinds.items():
        spec = spec_of(starters[role], role)
        model = load(spec)
        assert type(model) is kind
        assert model.spec is spec
        model.close()
        model.close()


def test_progress_goes_up_to_one(starters: dict[Role, Path]) -> None:
    seen: list[float] = []
    load(spec_of(starters[Role.INSTRUCT], Role.INSTRUCT), on_progress=seen.append).close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 2


@pytest.mark.parametrize("polls_before", [0, 1, 2])
def test_a_load_can_be_cancelled(starters: dict[Role, Path], polls_before: int) -> None:
    polls = itertools.count()
    with pytest.raises(CancelledError):
        load(spec_of(starters[Role.EMBEDDING], Role.EMBEDDING), cancelled=lambda: next(polls) >= polls_before)


def test_a_file_that_went_away(starters: dict[Role, Path], tmp_path: Path) -> None:
    spec = replace(spec_of(starters[Role.INSTRUCT], Role.INSTRUCT), path=tmp_path / "gone.gguf")
    with pytest.raises(ModelFileError, match=r"There is no model file .*gone\.gguf"):
        load(spec)


def test_a_model_of_another_kind(starters: dict[Role, Path]) -> None:
    spec = replace(spec_of(starters[Role.INSTRUCT], Role.INSTRUCT), path=starters[Role.EMBEDDING])
    with pytest.raises(ModelFileError, match="needs a generating model"):
        load_instruct(spec)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"blk.0.attn_q.weight", b"blk.0.attn_x.weight", "attn_q"),
        (b"llama", b"lamma", "lamma"),
    ],
    ids=["a tensor is missing", "an unknown architecture"],
)
def test_damage_that_the_header_does_not_show(
    starters: dict[Role, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, old: bytes, new: bytes, reason: str
) -> None:
    data = starters[Role.INSTRUCT].read_bytes()
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(data.replace(old, new))
    caplog.set_level(logging.ERROR)
    with pytest.raises(LoadFailedError, match=rf"damaged\.gguf could not be loaded: .*{reason}"):
        load(spec_of(damaged, Role.INSTRUCT))
    assert any(record.name == "charlie.llama" for record in caplog.records)
    load(spec_of(starters[Role.INSTRUCT], Role.INSTRUCT)).close()


def test_llama_cpp_writes_nothing_to_the_terminal(
    starters: dict[Role, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    load(spec_of(starters[Role.INSTRUCT], Role.INSTRUCT)).close()
    assert capfd.readouterr() == ("", "")
