from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from core.model_files import checksums, fingerprint
from core.model_files.fingerprint import file_sha256

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read whole, by a process that knows no hash yet."""
    files: list[Path] = []
    sha256_of = checksums.sha256_of

    def counted(path: Path) -> str:
        files.append(path)
        return sha256_of(path)

    monkeypatch.setattr(checksums, "sha256_of", counted)
    monkeypatch.setattr(fingerprint, "_hashes", {})
    return files


def test_a_file_is_read_once_for_each_state(tmp_path: Path, read: list[Path]) -> None:
    file = tmp_path / "model.gguf"
    for content in (b"one", b"three"):
        file.write_bytes(content)
        assert file_sha256(file) == file_sha256(file) == hashlib.sha256(content).hexdigest()
    assert read == [file, file]


def test_another_process_takes_the_hash_from_the_cache(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, cache = tmp_path / "model.gguf", tmp_path / "hashes.json"
    file.write_bytes(b"one")
    first = file_sha256(file, cache)
    monkeypatch.setattr(fingerprint, "_hashes", {})
    assert file_sha256(file, cache) == first
    assert read == [file]
    cache.write_bytes(b"[damaged")
    monkeypatch.setattr(fingerprint, "_hashes", {})
    assert file_sha256(file, cache) == first
    assert read == [file, file]


def test_an_unchanged_download_is_not_read(tmp_path: Path, read: list[Path]) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"one")
    checksums.save(file, "owner/name", "model.gguf", "0" * 64)
    assert file_sha256(file) == "0" * 64
    assert read == []
