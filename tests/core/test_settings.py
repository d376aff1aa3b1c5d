"""The sources of settings, and the errors for unusable ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import SettingsError
from core.model_files.configure import use
from core.paths import Paths
from core.roles import Role
from core.settings_file import SettingsFile, load_settings

LEVELS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # key: as an argument, in the environment, in TOML, by default
    "keep_alive": ({"keep_alive": 1.0}, "2.0", "keep_alive = 3.0", "300.0"),
    "instruct.context_length": (
        {"instruct": {"context_length": 100}},
        "200",
        "[instruct]\ncontext_length = 300",
        "None",
    ),
    "instruct.sampling.top_k": (
        {"instruct": {"sampling": {"top_k": 1}}},
        "2",
        "[instruct.sampling]\ntop_k = 3",
        "40",
    ),
}


def read(settings: object, key: str) -> str:
    for part in key.split("."):
        settings = getattr(settings, part)
    return str(settings)


@pytest.mark.parametrize("key", LEVELS)
def test_sources_by_precedence(paths: Paths, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Arguments, then environment, then TOML, then defaults."""
    arguments, variable, toml, default = LEVELS[key]
    assert read(load_settings(), key) == default
    paths.config_file.write_text(toml)
    assert read(load_settings(), key) == toml.rpartition(" = ")[2]
    monkeypatch.setenv("CHARLIE_" + key.upper().replace(".", "__"), variable)
    assert read(load_settings(), key) == variable
    value: Any = arguments
    for part in key.split("."):
        value = value[part]
    assert read(load_settings(**arguments), key) == str(value)


def test_sources_are_merged_key_by_key(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.config_file.write_text("[instruct]\nthreads = 3\nbatch = 64\n")
    monkeypatch.setenv("CHARLIE_INSTRUCT__BATCH", "128")
    settings = load_settings(instruct={"gpu_layers": 7})
    assert (settings.instruct.threads, settings.instruct.batch, settings.instruct.gpu_layers) == (3, 128, 7)


def test_settings_are_frozen(home: Path) -> None:
    settings = load_settings()
    for section, key in ((settings, "keep_alive"), (settings.instruct, "threads")):
        with pytest.raises(ValidationError):
            setattr(section, key, 1)


BAD = [("nonsense", "1", "unknown"), ("memory.nonsense", "1", "unknown"), ("keep_alive", "soon", "cannot be used")]
BAD += [("instruct.context_length", "5", "cannot be used"), ("embedding.pooling", "max", "cannot be used")]


def nested(key: str, value: str) -> dict[str, Any]:
    found: Any = value
    for part in reversed(key.split(".")):
        found = {part: found}
    return dict(found)


@pytest.mark.parametrize(("key", "value", "what"), BAD)
def test_a_bad_argument_is_named(home: Path, key: str, value: str, what: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(**nested(key, value))
    assert f"{key} = {value!r} in the arguments" in refused.value.message
    assert what in refused.value.message


@pytest.mark.parametrize(("key", "value", "what"), BAD)
def test_a_bad_variable_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str, what: str) -> None:
    name = "CHARLIE_" + key.upper().replace(".", "__")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert name in refused.value.message
    assert repr(value) in refused.value.message
    if "." in key or what != "unknown":
        assert key in refused.value.message
        assert what in refused.value.message


@pytest.mark.parametrize(("key", "value", "what"), BAD)
def test_a_bad_line_is_named(paths: Paths, key: str, value: str, what: str) -> None:
    paths.config_file.write_text(f'{key} = "{value}"')
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert f"{key} = {value!r} in {paths.config_file}" in refused.value.message
    assert what in refused.value.message


def test_the_error_names_the_source_of_the_bad_value(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the source of a good value in the same section."""
    monkeypatch.setenv("CHARLIE_MEMORY__RAM_RESERVE", "much")
    with pytest.raises(SettingsError, match="in the environment variable CHARLIE_MEMORY__RAM_RESERVE"):
        load_settings(memory={"vram_reserve": 1})
    monkeypatch.delenv("CHARLIE_MEMORY__RAM_RESERVE")
    paths.config_file.write_text('[memory]\nram_reserve = "much"\n')
    with pytest.raises(SettingsError, match=r"in .*config\.toml"):
        load_settings(memory={"vram_reserve": 1})


@pytest.mark.parametrize("text", [b"keep_alive = [", b"\xff\xfe", b"= 1", b"[instruct\n"])
def test_a_broken_file_is_named(paths: Paths, text: bytes) -> None:
    paths.config_file.write_bytes(text)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(paths.config_file) in refused.value.message
    assert refused.value.hint


def test_a_file_in_another_encoding_is_told_what_it_should_be(paths: Paths) -> None:
    paths.config_file.write_text("keep_alive = 1", encoding="utf-16")
    with pytest.raises(SettingsError, match=r"is not UTF-8\. Save"):
        load_settings()


def test_a_section_variable_must_be_json(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLIE_MEMORY", "{")
    with pytest.raises(SettingsError):
        load_settings()


def test_a_changed_file_takes_effect_without_a_restart(paths: Paths, tiny: dict[Role, Path]) -> None:
    file = SettingsFile()
    assert file.current().instruct.file is None
    assert file.current() is file.current()
    use(paths, Role.INSTRUCT, tiny[Role.INSTRUCT])
    assert file.current().instruct.file == tiny[Role.INSTRUCT]
    good = paths.config_file.read_text()
    paths.config_file.write_text("keep_alive = [")
    for _ in range(2):
        with pytest.raises(SettingsError):
            file.current()
    paths.config_file.write_text(good)
    assert file.current().instruct.file == tiny[Role.INSTRUCT]
    paths.config_file.unlink()
    assert file.current().instruct.file is None
