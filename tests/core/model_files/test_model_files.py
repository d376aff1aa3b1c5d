from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.errors import CharlieError, ModelFileError, NoModelError, SettingsError
from core.model_files import checksums
from core.model_files.configure import pin, set_value, use
from core.model_files.hub import CHUNK_BYTES, pull
from core.model_files.spec import available, resolve
from core.paths import find_paths
from core.roles import Role
from core.settings import InstructSettings, Settings
from core.settings_file import load_settings
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


def test_without_a_configured_file_the_bundled_model_is_used(paths: Paths) -> None:
    for role, context in ((Role.INSTRUCT, 2048), (Role.EMBEDDING, 512)):
        spec = resolve(load_settings(), paths, role)
        assert spec.bundled
        assert (spec.role, spec.context_length, spec.name) == (role, context, f"tiny-{role}")
    with pytest.raises(NoModelError, match="No model is configured for the role reranker"):
        resolve(load_settings(), paths, Role.RERANKER)


def test_a_configured_file_replaces_the_bundled_model(paths: Paths, tiny: dict[Role, Path]) -> None:
    (paths.models / "mine.gguf").write_bytes(tiny[Role.INSTRUCT].read_bytes())
    settings = Settings(instruct=InstructSettings.model_validate({"file": "mine.gguf", "context_length": 256}))
    spec = resolve(settings, paths, Role.INSTRUCT)
    assert spec.path == paths.models / "mine.gguf"
    assert not spec.bundled
    assert spec.context_length == 256
    assert available(paths) == [paths.models / "mine.gguf"]


def test_a_context_longer_than_the_models_is_refused(paths: Paths) -> None:
    settings = Settings(instruct=InstructSettings(context_length=9000))
    with pytest.raises(SettingsError, match=r"9,000 is more than the 2,048"):
        resolve(settings, paths, Role.INSTRUCT)


@pytest.mark.parametrize("role", list(Role))
def test_each_file_fits_only_its_role(paths: Paths, tiny: dict[Role, Path], role: Role) -> None:
    for other, path in tiny.items():
        if other is role:
            use(paths, role, path)
            continue
        with pytest.raises(ModelFileError, match=rf"holds an? .*the role {role} needs") as caught:
            use(paths, role, path)
        assert f"charlie models use {role} FILE" in caught.value.hint


def test_using_a_file_leaves_the_rest_of_the_configuration(paths: Paths, tiny: dict[Role, Path]) -> None:
    path = tiny[Role.INSTRUCT]
    before = (
        '# mine\nkeep_alive = 5\n\n[instruct] # chat\ngpu_layers = 0\nfile = "old.gguf"\n'
        '\n[memory]\nram_reserve = "1GiB"\n'
    )
    paths.config_file.write_text(before)
    use(paths, Role.INSTRUCT, path)
    assert paths.config_file.read_text() == before.replace('"old.gguf"', f'"{path}"')
    use(paths, Role.EMBEDDING, tiny[Role.EMBEDDING])
    settings = load_settings()
    assert (settings.instruct.file, settings.embedding.file) == (path, tiny[Role.EMBEDDING])
    assert settings.keep_alive == 5


def test_pinning_leaves_the_rest_of_the_configuration(paths: Paths) -> None:
    paths.config_file.write_text("[embedding] # mine\nbatch = 64\n")
    pin(paths, Role.EMBEDDING, True)
    assert paths.config_file.read_text() == "[embedding] # mine\nbatch = 64\npinned = true\n"
    assert load_settings().embedding.pinned
    pin(paths, Role.EMBEDDING, False)
    assert not load_settings().embedding.pinned


@pytest.mark.parametrize("name", ['a "quoted" \\ name.gguf', "tab\tnew\nline.gguf", "é 🦊.gguf"], ids=range(3))
def test_any_file_name_is_written_as_toml(name: str) -> None:
    text = set_value("", Role.RERANKER, "file", name)
    assert tomllib.loads(text) == {"reranker": {"file": name}}
    assert set_value(text, Role.RERANKER, "file", name) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('instruct = { file = "a", gpu_layers = 0 } # x\n', 'instruct = { file = "b", gpu_layers = 0 } # x\n'),
        ('instruct.file = "a" # x\nkeep_alive = 5\n', 'instruct.file = "b" # x\nkeep_alive = 5\n'),
        ("instruct.gpu_layers = 0\n", 'instruct.gpu_layers = 0\ninstruct.file = "b"\n'),
        ('["instruct"]\nfile = """\na"""\n', '["instruct"]\nfile = "b"\n'),
        (
            "[instruct.sampling]\nseed = 1\n\n# last\n",
            '[instruct]\nfile = "b"\n\n[instruct.sampling]\nseed = 1\n\n# last\n',
        ),
    ],
    ids=["an inline table", "a dotted key", "another dotted key", "a quoted name", "a section below it"],
)
def test_a_section_is_changed_however_it_is_written(before: str, after: str) -> None:
    assert set_value(before, Role.INSTRUCT, "file", "b") == after


@pytest.mark.parametrize("text", ["instruct = 3\n", '[[instruct]]\nfile = "a"\n'], ids=["a number", "a list"])
def test_a_role_that_is_no_section_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="not a section"):
        set_value(text, Role.INSTRUCT, "file", "b")


def test_a_broken_configuration_is_kept(paths: Paths, tiny: dict[Role, Path]) -> None:
    paths.config_file.write_text("instruct = [\n")
    with pytest.raises(SettingsError, match="not valid TOML"):
        use(paths, Role.INSTRUCT, tiny[Role.INSTRUCT])
    assert paths.config_file.read_text() == "instruct = [\n"


@pytest.fixture
def hub(tiny: dict[Role, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    played = Hub(tiny[Role.INSTRUCT].read_bytes(), broken=True)
    with played.served() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield played


def test_an_interrupted_download_is_resumed(paths: Paths, hub: Hub) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(CharlieError, match="was interrupted"):
        pull(paths, Role.INSTRUCT, "owner/name", "model.gguf")
    assert available(paths) == []
    hub.broken = False
    hub.ranges.clear()
    got = pull(paths, Role.INSTRUCT, "owner/name", "model.gguf", lambda done, total: seen.append((done, total)))
    assert got.read_bytes() == hub.data
    had = HALF - HALF % CHUNK_BYTES
    assert hub.ranges == [f"bytes={had}-"]
    assert seen[0] == (had, len(hub.data))
    assert seen[-1] == (len(hub.data), len(hub.data))
    assert load_settings().instruct.file == got
    # A complete file is not downloaded again.
    pull(paths, Role.INSTRUCT, "owner/name", "model.gguf")
    assert len(hub.ranges) == 1


def pulled(paths: Paths) -> Path:
    return pull(paths, Role.INSTRUCT, "owner/name", "model.gguf")


def damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_the_checksum_of_a_download_is_saved_and_compared(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    path = pulled(paths)
    kept = checksums.read(path)
    assert kept is not None
    assert (kept.repo, kept.file, kept.sha256, kept.bytes) == ("owner/name", "model.gguf", hub.etag, len(hub.data))
    assert kept.revision == "0" * 40
    assert checksums.has_changed(path) is None
    # A touched file is read once.
    os.utime(path, ns=(1, 1))
    assert checksums.has_changed(path) is None
    assert checksums.read(path) == replace(kept, modified=1)
    damage(path)
    assert checksums.has_changed(path) is not None
    # A changed file with its old time is only detected by reading it.
    os.utime(path, ns=(1, 1))
    assert checksums.has_changed(path) is None
    assert checksums.has_changed(path, thorough=True) is not None
    path.write_bytes(hub.data[:-1])
    assert checksums.has_changed(path) is not None
    assert available(paths) == [path]


def test_a_changed_file_is_downloaded_again(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    path = pulled(paths)
    damage(path)
    assert pulled(paths).read_bytes() == hub.data
    assert len(hub.ranges) == 2
    assert checksums.has_changed(path, thorough=True) is None


def test_a_file_that_was_copied_in_gets_its_checksum(paths: Paths, hub: Hub) -> None:
    (paths.models / "model.gguf").write_bytes(hub.data)
    path = pulled(paths)
    assert hub.ranges == []
    kept = checksums.read(path)
    assert kept is not None
    assert kept.sha256 == hub.etag


def test_a_download_with_another_checksum_than_the_hubs_is_refused(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    hub.etag = "0" * 64
    with pytest.raises(CharlieError, match="its checksum is not the one published by owner/name"):
        pulled(paths)
    assert list(paths.models.iterdir()) == []


def test_without_a_checksum_from_the_hub_the_downloads_own_counts(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    hub.etag = "0" * 40
    path = pulled(paths)
    damage(path)
    assert checksums.has_changed(path) is not None
    assert pulled(paths).read_bytes() == hub.data


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"repo": 1}'], ids=range(6))
def test_an_unreadable_checksum_record_is_replaced(paths: Paths, hub: Hub, content: bytes) -> None:
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
        ("owner/other", "model.gguf", "does not exist or is not public"),
        ("owner/name", "other.gguf", "has no file other.gguf"),
        ("not a name", "model.gguf", "is not the name of a repository"),
    ],
)
def test_an_unknown_repository_or_file_is_refused(paths: Paths, hub: Hub, repo: str, file: str, reason: str) -> None:
    with pytest.raises(CharlieError, match=reason):
        pull(paths, Role.INSTRUCT, repo, file)


def test_a_downloaded_model_of_another_kind_is_not_configured(paths: Paths, hub: Hub) -> None:
    hub.broken = False
    with pytest.raises(ModelFileError, match="needs an embedding model"):
        pull(paths, Role.EMBEDDING, "owner/name", "model.gguf")
    assert not paths.config_file.exists()


def test_an_unreachable_hub(paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CharlieError, match=r"hub 127\.0\.0\.1:9 cannot be reached"):
        pull(paths, Role.INSTRUCT, "owner/name", "model.gguf")
    assert capsys.readouterr().err == "", "the library prints nothing itself"
