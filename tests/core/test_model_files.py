from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core import checksums, model_files, starter
from core.downloads import CHUNK_BYTES, RECOMMENDED, recommended
from core.errors import CharlieError, ModelFileError, SettingsError
from core.paths import find_paths
from core.settings import InstructSettings, Role, Settings, load_settings
from tests.hub import HALF, Hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from core.paths import Paths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("CHARLIE_HOME", str(tmp_path / "home"))
    paths = find_paths()
    paths.make()
    return paths


def test_without_a_file_it_is_the_starter(paths: Paths) -> None:
    for role, context in ((Role.INSTRUCT, 2048), (Role.EMBEDDING, 512), (Role.RERANKER, 512)):
        spec = model_files.resolve(load_settings(), paths, role)
        assert spec.starter
        assert spec.path == starter.path_of(role)
        assert (spec.role, spec.context_length, spec.name) == (role, context, f"starter-{role}")


def test_a_configured_file_is_taken(paths: Paths, starters: dict[Role, Path]) -> None:
    (paths.models / "mine.gguf").write_bytes(starters[Role.INSTRUCT].read_bytes())
    settings = Settings(instruct=InstructSettings.model_validate({"file": "mine.gguf", "context_length": 256}))
    spec = model_files.resolve(settings, paths, Role.INSTRUCT)
    assert spec.path == paths.models / "mine.gguf"
    assert spec.context_length == 256
    assert model_files.available(paths) == [paths.models / "mine.gguf"]


def test_a_context_that_the_model_does_not_have(paths: Paths) -> None:
    settings = Settings(instruct=InstructSettings(context_length=9000))
    with pytest.raises(SettingsError, match=r"9,000 is more than the 2,048"):
        model_files.resolve(settings, paths, Role.INSTRUCT)


@pytest.mark.parametrize("role", list(Role))
def test_each_file_fits_its_role_alone(paths: Paths, starters: dict[Role, Path], role: Role) -> None:
    for other, path in starters.items():
        if other is role:
            model_files.use(paths, role, path)
            continue
        with pytest.raises(ModelFileError, match=rf"holds an? .*the role {role} needs") as caught:
            model_files.use(paths, role, path)
        assert f"charlie models use {role} FILE" in caught.value.hint


def test_using_a_file_leaves_the_rest_as_it_is(paths: Paths, starters: dict[Role, Path]) -> None:
    path = starters[Role.INSTRUCT]
    before = (
        '# mine\nkeep_alive = 5\n\n[instruct] # chat\ngpu_layers = 0\nfile = "old.gguf"\n'
        '\n[memory]\nram_reserve = "1GiB"\n'
    )
    paths.config_file.write_text(before)
    model_files.use(paths, Role.INSTRUCT, path)
    assert paths.config_file.read_text() == before.replace('"old.gguf"', f'"{path}"')
    model_files.use(paths, Role.EMBEDDING, starters[Role.EMBEDDING])
    settings = load_settings()
    assert (settings.instruct.file, settings.embedding.file) == (path, starters[Role.EMBEDDING])
    assert settings.keep_alive == 5


@pytest.mark.parametrize("name", ['a "quoted" \\ name.gguf', "tab\tnew\nline.gguf", "é 🦊.gguf"], ids=range(3))
def test_any_file_name_is_written_as_toml(name: str) -> None:
    text = model_files.set_file("", Role.RERANKER, name)
    assert tomllib.loads(text) == {"reranker": {"file": name}}
    assert model_files.set_file(text, Role.RERANKER, name) == text


def test_a_section_that_cannot_be_changed_by_lines() -> None:
    with pytest.raises(SettingsError, match="cannot be changed by itself"):
        model_files.set_file('instruct = { file = "a" }\n', Role.INSTRUCT, "b")


def test_a_broken_configuration_is_kept(paths: Paths, starters: dict[Role, Path]) -> None:
    paths.config_file.write_text("instruct = [\n")
    with pytest.raises(SettingsError, match="not valid TOML"):
        model_files.use(paths, Role.INSTRUCT, starters[Role.INSTRUCT])
    assert paths.config_file.read_text() == "instruct = [\n"


@pytest.fixture
def hub(starters: dict[Role, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    played = Hub(starters[Role.INSTRUCT].read_bytes(), broken=True)
    with played.served() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield played


def test_a_download_that_was_cut_goes_on(paths: Paths, hub: Hub) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(CharlieError, match="was cut off"):
        model_files.pull(paths, Role.INSTRUCT, "owner/name", "model.gguf")
    assert model_files.available(paths) == []
    hub.broken = False
    hub.ranges.clear()
    got = model_files.pull(
        paths, Role.INSTRUCT, "owner/name", "model.gguf", lambda done, total: seen.append((done, total))
    )
    assert got.read_bytes() == hub.data
    had = HALF - HALF % CHUNK_BYTES
    assert hub.ranges == [f"bytes={had}-"]
    assert seen[0] == (had, len(hub.data))
    assert seen[-1] == (len(hub.data), len(hub.data))
    assert load_settings().instruct.file == got
    # What is there is not fetched again.
    model_files.pull(paths, Role.INSTRUCT, "owner/name", "model.gguf")
    assert len(hub.ranges) == 1


def pulled(paths: Paths) -> Path:
    return model_files.pull(paths, Role.INSTRUCT, "owner/name", "model.gguf")


def damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_the_checksum_of_a_download_is_kept_and_compared(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    path = pulled(paths)
    kept = checksums.read(path)
    assert kept is not None
    assert (kept.repo, kept.file, kept.sha256, kept.bytes) == ("owner/name", "model.gguf", hub.etag, len(hub.data))
    assert checksums.has_changed(path) is None
    # A file that was only touched is read once.
    os.utime(path, ns=(1, 1))
    assert checksums.has_changed(path) is None
    assert checksums.read(path) == replace(kept, modified=1)
    damage(path)
    assert checksums.has_changed(path) is not None
    # One that was changed and given its time back is seen by reading it.
    os.utime(path, ns=(1, 1))
    assert checksums.has_changed(path) is None
    assert checksums.has_changed(path, thorough=True) is not None
    path.write_bytes(hub.data[:-1])
    assert checksums.has_changed(path) is not None
    assert model_files.available(paths) == [path]


def test_a_file_that_has_changed_is_fetched_again(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    path = pulled(paths)
    damage(path)
    assert pulled(paths).read_bytes() == hub.data
    assert len(hub.ranges) == 2
    assert checksums.has_changed(path, thorough=True) is None


def test_a_file_that_came_by_another_way_gets_its_checksum(paths: Paths, hub: Hub) -> None:
    (paths.models / "model.gguf").write_bytes(hub.data)
    path = pulled(paths)
    assert hub.ranges == []
    kept = checksums.read(path)
    assert kept is not None
    assert kept.sha256 == hub.etag


def test_a_download_that_is_not_what_the_hub_tells_is_refused(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    hub.etag = "0" * 64
    with pytest.raises(CharlieError, match="its checksum is not the one that owner/name tells"):
        pulled(paths)
    assert list(paths.models.iterdir()) == []


def test_without_a_checksum_from_the_hub_the_first_one_counts(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    hub.etag = "0" * 40
    path = pulled(paths)
    damage(path)
    assert checksums.has_changed(path) is not None
    assert pulled(paths).read_bytes() == hub.data


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"repo": 1}'], ids=range(6))
def test_a_record_that_cannot_be_read_is_none(paths: Paths, hub: Hub, content: bytes) -> None:
    hub.broken = False
    path = pulled(paths)
    (record,) = paths.models.glob(".*.json")
    record.write_bytes(content)
    assert checksums.read(path) is None
    assert checksums.has_changed(path) is None
    assert pulled(paths) == path
    assert checksums.read(path) is not None


@pytest.mark.parametrize(
    ("repo", "file", "reason"),
    [
        ("owner/other", "model.gguf", "is not there, or not open"),
        ("owner/name", "other.gguf", "has no file other.gguf"),
        ("not a name", "model.gguf", "is not the name of a repository"),
        ("owner/name", None, "is not named"),
    ],
)
def test_what_the_hub_does_not_have(paths: Paths, hub: Hub, repo: str, file: str | None, reason: str) -> None:
    with pytest.raises(CharlieError, match=reason):
        model_files.pull(paths, Role.INSTRUCT, repo, file)


def test_a_downloaded_model_of_another_kind_is_not_configured(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    with pytest.raises(ModelFileError, match="needs an embedding model"):
        model_files.pull(paths, Role.EMBEDDING, "owner/name", "model.gguf")
    assert not paths.config_file.exists()


def test_no_hub(paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CharlieError, match=r"hub 127\.0\.0\.1:9 cannot be reached"):
        model_files.pull(paths, Role.INSTRUCT)
    assert capsys.readouterr().err == "", "the library says nothing of its own"


@pytest.mark.parametrize(
    ("ram", "vram", "file"),
    [
        (2, 0, "Qwen3-0.6B-Q8_0.gguf"),
        (8, 0, "Qwen3-1.7B-Q8_0.gguf"),
        (16, 0, "Qwen3-4B-Q4_K_M.gguf"),
        (16, 8, "Qwen3-8B-Q4_K_M.gguf"),
        (64, 0, "Qwen3-14B-Q4_K_M.gguf"),
    ],
)
def test_what_is_recommended_follows_the_memory(ram: int, vram: int, file: str) -> None:
    assert recommended(Role.INSTRUCT, ram * 1024**3, vram * 1024**3).file == file


def test_recommendations_grow_with_their_memory() -> None:
    for role in Role:
        needs = [(each.file_bytes, each.ram_bytes) for each in RECOMMENDED[role]]
        assert needs == sorted(needs)
        assert all(file < ram for file, ram in needs)
