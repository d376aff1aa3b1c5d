"""The packaged catalogue, and newer ones."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from core.errors import CharlieError
from core.model_files.catalogue import PACKAGED, catalogue, refresh
from core.roles import Role

if TYPE_CHECKING:
    from pathlib import Path

    from core.paths import Paths

TEXT = PACKAGED.read_text("utf-8")
HALF = TEXT.partition("# bge-reranker")[0]


def test_the_packaged_catalogue_has_every_role_smallest_first(paths: Paths) -> None:
    found = catalogue(paths)
    assert set(found) == set(Role)
    for models in found.values():
        assert list(models) == sorted(models, key=lambda each: each.bytes)
        assert len({each.name for each in models}) == len(models)
        assert all(each.active <= each.parameters for each in models)
    assert any(each.active < each.parameters / 4 for each in found[Role.INSTRUCT]), "a mixture of experts"
    assert {each.good_for for each in found[Role.EMBEDDING]} == {"English", "over 100 languages"}
    assert len(found[Role.RERANKER]) >= 2


def test_a_newer_catalogue_is_taken(paths: Paths, tmp_path: Path) -> None:
    newer = tmp_path / "newer.toml"
    newer.write_text(TEXT.replace("Qwen3.5 0.8B", "Qwen4 1B"))
    refresh(paths, newer)
    assert catalogue(paths)[Role.INSTRUCT][0].name == "Qwen4 1B"
    paths.catalogue.write_text("damaged")
    assert catalogue(paths)[Role.INSTRUCT][0].name == "Qwen3.5 0.8B", "the packaged one instead"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "No such file"),
        ("[[instruct", "Expected"),
        ("\0", "Invalid"),
        (TEXT.replace("bytes = 812_000_000", "bytes = -1"), "instruct.0.bytes: Input should be greater than 0"),
        (TEXT.replace("thoughts = 500", "thougts = 500", 1), "thougts: Unexpected keyword argument"),
        (TEXT.replace("unsloth/Qwen3.5-0.8B-GGUF", "https://example.org"), "repo: String should match"),
        (TEXT.replace("[[reranker]]", "[[other]]"), "other"),
        (HALF, "at least 3 items"),
    ],
    ids=["missing", "no TOML", "no text", "size", "unknown key", "address", "unknown role", "no reranker"],
)
def test_a_bad_catalogue_is_one_sentence_and_changes_nothing(
    text: str | None, reason: str, paths: Paths, tmp_path: Path
) -> None:
    file = tmp_path / "newer.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CharlieError) as error:
        refresh(paths, file)
    assert reason in error.value.message
    assert "\n" not in error.value.message
    assert error.value.hint == "The present catalogue stays."
    assert not paths.catalogue.exists()
    assert tomllib.loads(TEXT)["instruct"][0]["name"] == catalogue(paths)[Role.INSTRUCT][0].name
