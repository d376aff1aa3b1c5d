"""Settings that llama.cpp refuses for a model are named before it is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.errors import LoadFailedError, SettingsError
from core.llama.engine import load
from core.model_files.gguf import read_header
from core.model_files.spec import spec_for
from core.roles import Role
from core.settings import RoleSettings
from tests.model_files import Size, write_random

if TYPE_CHECKING:
    from pathlib import Path

    from core.settings import KvType


def settings(kv_type: KvType) -> RoleSettings:
    return RoleSettings(kv_type=kv_type, context_length=256)


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_a_kv_type_that_the_heads_do_not_allow_is_named(tmp_path: Path, kv_type: KvType) -> None:
    header = read_header(write_random(tmp_path / "model.gguf", size=Size(width=192, heads=4)))
    spec = spec_for(settings("f16"), header, Role.INSTRUCT)
    load(spec).close()
    with pytest.raises(LoadFailedError, match="does not divide"):
        load(replace(spec, kv_type=kv_type))
    with pytest.raises(SettingsError, match=rf'instruct\.kv_type = "{kv_type}" .*its heads have 48 values') as caught:
        spec_for(settings(kv_type), header, Role.INSTRUCT)
    assert caught.value.hint == 'Set instruct.kv_type = "f16", or remove it.'


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_a_kv_type_that_the_heads_allow_loads(tmp_path: Path, kv_type: KvType) -> None:
    header = read_header(write_random(tmp_path / "model.gguf", size=Size(width=128, heads=4)))
    load(spec_for(settings(kv_type), header, Role.INSTRUCT)).close()


def test_an_architecture_without_flash_attention_keeps_f16(tmp_path: Path) -> None:
    header = read_header(write_random(tmp_path / "model.gguf", size=Size(width=128, heads=4)))
    grok = replace(header, architecture="grok")
    spec_for(settings("f16"), grok, Role.INSTRUCT)
    with pytest.raises(SettingsError, match="it has no flash attention"):
        spec_for(settings("q8_0"), grok, Role.INSTRUCT)


@pytest.mark.parametrize("role", [Role.EMBEDDING, Role.RERANKER])
def test_an_encoders_kv_type_is_checked_as_llama_cpp_does(tiny: dict[Role, Path], role: Role) -> None:
    header = read_header(tiny[role])
    spec = spec_for(settings("f16"), header, role)
    try:
        load(replace(spec, kv_type="q8_0")).close()
    except LoadFailedError:
        with pytest.raises(SettingsError):
            spec_for(settings("q8_0"), header, role)
    else:
        spec_for(settings("q8_0"), header, role)
