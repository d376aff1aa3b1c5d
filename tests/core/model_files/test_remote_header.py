"""Headers that are read from a hub before a model is downloaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.errors import CharlieError
from core.model_files import hub
from core.model_files.gguf import read_header
from tests.hub import Hub
from tests.model_files import write_random, write_split

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_random(tmp_path / "model.gguf")


def fetched(served: Hub, monkeypatch: pytest.MonkeyPatch, repo: str = "owner/name", file: str | None = None) -> object:
    """The header by the hub, but for what only a file on the disk has."""
    seen: list[int] = []
    with served.served() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        header = hub.remote_header(repo, file, seen.append)
    assert seen
    assert seen[-1] < header.file_bytes
    return replace(header, files=())


def local(path: Path) -> object:
    return replace(read_header(path), files=(), path=path.relative_to(path.parent))


@pytest.mark.parametrize("ranged", [True, False])
def test_only_the_beginning_is_read_and_a_long_header_continues(
    file: Path, monkeypatch: pytest.MonkeyPatch, *, ranged: bool
) -> None:
    monkeypatch.setattr(hub, "HEADER_BYTES", 2000)
    monkeypatch.setattr(hub, "CHUNK_BYTES", 500)
    served = Hub(file.read_bytes(), ranged=ranged)
    assert fetched(served, monkeypatch) == local(file)
    assert served.ranges[:3] == ["bytes=0-1999", "bytes=2000-3999", "bytes=4000-7999"] if ranged else served.ranges[1:]


def test_of_several_files_the_usual_one_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "HEADER_BYTES", 8000)
    data = file.read_bytes()
    served = Hub(
        b"GGUF", file="a-Q2_K.gguf", more={"mmproj-Q4_K_M.gguf": b"", "b-q4_k_m.gguf": data, "c-Q8_0.gguf": b""}
    )
    header = fetched(served, monkeypatch)
    assert header == replace(local(file), path=type(file)("b-q4_k_m.gguf"))  # type: ignore[type-var]


def test_all_parts_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = write_split(tmp_path / "big.gguf", tensors=9)
    served = Hub(first.read_bytes(), file=first.name, more={each.name: each.read_bytes() for each in others})
    with served.served() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        header = hub.remote_header("owner/name", others[1].name, lambda _: None)
    assert header.parameters == read_header(first).parameters


def test_what_cannot_be_read_is_one_sentence(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = file.read_bytes()
    for served, repo, name, message in (
        (Hub(data), "owner/name", "other.gguf", "The repository owner/name has no file other.gguf."),
        (Hub(data), "other/name", "model.gguf", "The repository other/name does not exist or is not public."),
        (Hub(b"<html>" * 99), "owner/name", "model.gguf", "it is not a GGUF file."),
        (Hub(data[:5000]), "owner/name", "model.gguf", "its header is cut off."),
        (Hub(b"", file="README.md"), "owner/name", None, "The repository owner/name has no GGUF files."),
    ):
        with served.served() as address:
            monkeypatch.setenv("HF_ENDPOINT", address)
            with pytest.raises(CharlieError) as caught:
                hub.remote_header(repo, name, lambda _: None)
        assert caught.value.message.endswith(message)
        assert caught.value.hint
    with pytest.raises(CharlieError, match=r"The hub 127\.0\.0\.1:\d+ cannot be reached\."):
        hub.remote_header("owner/name", "model.gguf", lambda _: None)
