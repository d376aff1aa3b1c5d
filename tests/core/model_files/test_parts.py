"""Models in several files: any part leads to the first, and all parts count."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from core.errors import CharlieError, ModelFileError
from core.llama.engine import InstructModel, load_as
from core.llama.simulate import simulate
from core.memory.footprint import estimate
from core.model_files import checksums, fingerprint
from core.model_files.configure import use
from core.model_files.fingerprint import embedding_id, file_id, model_sha256
from core.model_files.gguf import read_header
from core.model_files.hub import pull
from core.model_files.spec import available, resolve
from core.roles import Role
from core.settings_file import load_settings
from tests.core.conftest import spec_of
from tests.hub import Hub
from tests.model_files import write_random, write_split

if TYPE_CHECKING:
    from pathlib import Path

    from core.paths import Paths


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "parts"
    folder.mkdir()
    return write_split(folder / "model.gguf", tensors=9)


def test_every_part_leads_to_the_whole_model(parts: list[Path], tmp_path: Path) -> None:
    assert len(parts) == 4
    whole = read_header(write_random(tmp_path / "model.gguf"))
    headers = {read_header(part) for part in parts}
    assert len(headers) == 1
    (header,) = headers
    assert header.path == parts[0]
    assert header.file_bytes == sum(part.stat().st_size for part in parts)
    assert (header.tensor_bytes, header.layer_bytes, header.output_bytes, header.parameters) == (
        whole.tensor_bytes,
        whole.layer_bytes,
        whole.output_bytes,
        whole.parameters,
    )
    assert [each.path for each in header.files] == parts


def test_the_parts_are_planned_and_loaded_as_one(parts: list[Path], tmp_path: Path) -> None:
    whole = spec_of(write_random(tmp_path / "model.gguf"), Role.INSTRUCT, 256)
    split = spec_of(parts[2], Role.INSTRUCT, 256)
    assert estimate(split) == estimate(whole)
    assert simulate(split) == simulate(whole)
    model = load_as(InstructModel, split)
    assert model.count_tokens("hello")
    model.close()


def test_use_configures_the_first_part(paths: Paths, parts: list[Path]) -> None:
    use(paths, Role.INSTRUCT, parts[1])
    assert load_settings().instruct.file == parts[0]
    assert resolve(load_settings(), paths, Role.INSTRUCT, parts[3]).path == parts[0]


@pytest.mark.parametrize("gone", range(4))
def test_a_missing_part_is_named(parts: list[Path], gone: int) -> None:
    parts[gone].unlink()
    for part in parts:
        with pytest.raises(ModelFileError) as caught:
            read_header(part)
        assert caught.value.message == f"The model is in 4 parts, and {parts[gone]} is missing."
        assert caught.value.hint


def test_without_any_part_the_file_is_missing(parts: list[Path]) -> None:
    for part in parts:
        part.unlink()
    with pytest.raises(ModelFileError, match="There is no model file"):
        read_header(parts[2])


@pytest.mark.parametrize("number", [0, 2])
def test_a_renamed_part_is_told_from_a_model(parts: list[Path], number: int) -> None:
    renamed = parts[number].rename(parts[number].with_name("mine.gguf"))
    with pytest.raises(ModelFileError, match=f"is part {number + 1} of 4 of a model, and its name is not") as caught:
        read_header(renamed)
    assert "NAME-00001-of-00004.gguf" in caught.value.hint


def test_a_part_that_is_cut_off_is_named(parts: list[Path]) -> None:
    os.truncate(parts[2], parts[2].stat().st_size - 1)
    with pytest.raises(ModelFileError, match=rf"The file {parts[2]} .* it is cut off"):
        read_header(parts[0])


def test_a_changed_part_is_another_model(parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(parts[0], Role.EMBEDDING)
    before = model_sha256(spec.header), file_id(spec.header, ""), embedding_id(spec)
    found = parts[2].stat()
    data = parts[2].read_bytes()
    parts[2].write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    os.utime(parts[2], ns=(found.st_atime_ns, found.st_mtime_ns - 10**9))
    assert not spec.header.is_of(parts[0])
    monkeypatch.setattr(fingerprint, "_hashes", {})
    again = spec_of(parts[0], Role.EMBEDDING)
    after = model_sha256(again.header), file_id(again.header, ""), embedding_id(again)
    assert not set(before) & set(after)


def test_parts_and_links_count_once_in_the_models_folder(paths: Paths, parts: list[Path]) -> None:
    for part in parts:
        shutil.copy(part, paths.models)
    one = write_random(paths.models / "one.gguf", 1)
    (paths.models / "a link.gguf").symlink_to(one)
    os.link(one, paths.models / "twin.gguf")
    assert available(paths) == [paths.models / parts[0].name, one]


def test_all_parts_are_fetched_together(paths: Paths, parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = parts
    hub = Hub(
        first.read_bytes(), file=f"Q4/{first.name}", more={f"Q4/{each.name}": each.read_bytes() for each in others}
    )
    seen: list[tuple[int, int]] = []
    with hub.served() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        asked = f"Q4/{parts[2].name}"
        got = pull(paths, Role.INSTRUCT, "owner/name", asked, lambda done, all_: seen.append((done, all_)))
        assert {done for done, all_ in seen if done == all_} == {part.stat().st_size for part in parts}
        assert got == paths.models / first.name == load_settings().instruct.file
        fetched = read_header(got).files
        assert [each.path.read_bytes() for each in fetched] == [part.read_bytes() for part in parts]
        assert all(checksums.read(each.path) for each in fetched)
        hub.ranges.clear()
        pull(paths, Role.INSTRUCT, "owner/name", asked)
        assert hub.ranges == []
        del hub.more[f"Q4/{parts[3].name}"]
        with pytest.raises(CharlieError, match=f"has no file Q4/{parts[3].name}"):
            pull(paths, Role.INSTRUCT, "owner/name", asked)
