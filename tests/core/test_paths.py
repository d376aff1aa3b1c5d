"""The folders of Charlie."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from core.errors import CharlieError
from core.paths import find_paths


def test_all_folders_are_in_charlie_home(home: Path) -> None:
    paths = find_paths()
    assert (paths.config, paths.data, paths.models) == (home / "config", home / "data", home / "models")
    assert (paths.logs, paths.run) == (home / "logs", home / "run")
    assert paths.config_file == home / "config" / "config.toml"
    assert paths.database == home / "data" / "database"


def test_find_paths_creates_nothing_and_make_creates_private_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "new"
    monkeypatch.setenv("CHARLIE_HOME", str(root))
    paths = find_paths()
    assert not root.exists()
    paths.make()
    paths.make()
    for folder in (paths.config, paths.data, paths.database, paths.models, paths.logs, paths.run):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_without_charlie_home_the_platform_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARLIE_HOME", raising=False)
    for name in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    assert find_paths().config.is_relative_to(tmp_path)
    assert find_paths().data.is_relative_to(tmp_path)


def test_a_file_as_charlie_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CHARLIE_HOME", str(tmp_path / "file"))
    with pytest.raises(CharlieError, match="cannot be used") as refused:
        find_paths().make()
    assert "CHARLIE_HOME" in refused.value.hint


def test_the_home_of_an_unknown_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARLIE_HOME", "~nobody-of-this-name/charlie")
    with pytest.raises(CharlieError, match="cannot be found"):
        find_paths()
