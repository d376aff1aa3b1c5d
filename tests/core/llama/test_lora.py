"""A LoRA changes the model as its weights say, is planned, and makes another model of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import llama_cpp
import numpy as np
import pytest

from core.dspy_lm.engine import model_id
from core.errors import LoadFailedError, ModelFileError, SettingsError
from core.llama.engine import InstructModel, load, load_as
from core.llama.instruct import Message
from core.llama.session_cache import MIN_TOKENS, SessionCache
from core.llama.simulate import simulate
from core.memory.footprint import estimate
from core.memory.types import Device
from core.model_files.fingerprint import file_id
from core.model_files.gguf import read_header
from core.model_files.spec import ModelSpec, resolve
from core.roles import Role
from core.settings import InstructSettings, Sampling, Settings
from tests.model_files import Size, merge, write_adapter, write_random
from tests.waiting import join

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from core.paths import Paths

EXACT = Size(weights=gguf.GGMLQuantizationType.F32)
TEXT = "a walk by the river with Mira, and then home in the rain " * 3


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_random(tmp_path / "base.gguf", size=EXACT)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "adapter.gguf", size=EXACT)


def spec_with(paths: Paths, file: Path, lora: Path | None) -> ModelSpec:
    settings = Settings(instruct=InstructSettings(file=file, lora=lora, context_length=512))
    return resolve(settings, paths, Role.INSTRUCT)


def logits(spec: ModelSpec) -> NDArray[np.float32]:
    """Of the first token of a reply."""
    model = load_as(InstructModel, spec)
    list(model.stream(model.fit([Message("user", TEXT)], 1), Sampling(temperature=0, max_tokens=1)))
    found = np.ctypeslib.as_array(llama_cpp.llama_get_logits(model.llama.ctx), (model.llama.n_vocab(),)).copy()
    model.close()
    return found


def test_the_logits_are_those_of_a_model_with_the_adapters_weights(
    paths: Paths, base: Path, adapter: Path, tmp_path: Path
) -> None:
    plain = logits(spec_with(paths, base, None))
    adapted = logits(spec_with(paths, base, adapter))
    merged = logits(spec_with(paths, merge(base, adapter, tmp_path / "merged.gguf"), None))
    assert np.corrcoef(adapted, merged)[0, 1] > 0.9999
    assert np.corrcoef(adapted, plain)[0, 1] < 0.99
    nothing = write_adapter(tmp_path / "nothing.gguf", size=EXACT, strength=0)
    assert np.corrcoef(logits(spec_with(paths, base, nothing)), plain)[0, 1] > 0.9999


def test_the_adapters_bytes_are_planned(paths: Paths, base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter.gguf", size=EXACT, rank=32)
    taken = EXACT.layers * 2 * 32 * EXACT.width * 4
    plain, adapted = spec_with(paths, base, None), spec_with(paths, base, adapter)
    assert read_header(adapter).tensor_bytes == taken
    for measure in (estimate, simulate):
        assert measure(adapted).weights == measure(plain).weights + taken
    device = [Device("GPU", 1 << 34, 1 << 34, "CUDA0")]
    assert estimate(adapted, device).vram == estimate(plain, device).vram + taken


def test_an_adapted_model_has_an_id_and_sessions_of_its_own(
    paths: Paths, base: Path, adapter: Path, tmp_path: Path
) -> None:
    other = write_adapter(tmp_path / "other.gguf", seed=1, size=EXACT)
    ids, found = set(), []
    for lora in (None, adapter, other, adapter):
        spec = spec_with(paths, base, lora)
        model = load_as(InstructModel, spec)
        ids.add(model_id(model))
        assert model_id(model) == file_id(spec.header, spec.header.chat_template)
        model.sessions = SessionCache(tmp_path / "sessions", spec, 1 << 30, lambda _: True)
        join(model.sessions._opener)
        prompt = model.fit([Message("user", TEXT)], 1)
        found.append(model.sessions.best(prompt.tokens, cuttable=True)[1])
        list(model.stream(prompt, Sampling(temperature=0, max_tokens=1), session="01"))
        model.save_session()
        model.close()
    assert len(ids) == 3
    assert found[:3] == [0, 0, 0]
    assert found[3] > MIN_TOKENS


def test_a_changed_adapter_is_noticed(paths: Paths, base: Path, adapter: Path) -> None:
    header = spec_with(paths, base, adapter).header
    assert header.is_of(base)
    write_adapter(adapter, seed=2, size=EXACT)
    assert not header.is_of(base)


def test_a_file_that_is_no_adapter_for_the_model_is_refused(paths: Paths, base: Path, tmp_path: Path) -> None:
    foreign = write_adapter(tmp_path / "foreign.gguf", size=EXACT, architecture="qwen3")
    for lora, kind in ((base, r"a generating model \(llama\)"), (foreign, r"an adapter \(LoRA\) \(qwen3\)")):
        with pytest.raises(SettingsError, match=rf"instruct\.lora names {lora}, which holds {kind}") as caught:
            spec_with(paths, base, lora)
        assert caught.value.hint == "Correct or remove instruct.lora."
    with pytest.raises(ModelFileError, match="There is no model file"):
        spec_with(paths, base, tmp_path / "gone.gguf")


def test_an_adapter_of_another_size_is_refused_with_its_setting(paths: Paths, base: Path, tmp_path: Path) -> None:
    wide = write_adapter(tmp_path / "wide.gguf", size=Size(width=128))
    with pytest.raises(LoadFailedError, match="incorrect shape") as caught:
        load(spec_with(paths, base, wide))
    assert "instruct.lora" in caught.value.hint
