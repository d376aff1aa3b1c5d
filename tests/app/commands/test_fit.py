"""`charlie models fit`: of a file, of a repository, and of everything that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app.commands.charlie import charlie, refused
from tests.hub import Hub
from tests.model_files import write_adapter, write_random

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_a_repository_and_all_models_are_judged(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    file = write_random(models / "one.gguf")
    found = charlie(tmp_path, "models", "fit", str(file), "--json").json
    (one,) = found
    assert (one["role"], one["fits"], one["file"], one["gpu_layers"]) == ("instruct", True, str(file), 0)
    assert one["context"] > 0
    assert one["needed"]["RAM"] <= one["available"]["RAM"]
    assert one["decode"] >= one["decode_full"] > 0
    assert one["seconds"] == 300 / one["prefill"] + 200 / one["decode"]
    assert one["suits"] is True
    text = charlie(tmp_path, "models", "fit", "one.gguf").out
    assert "for 200 tokens to a prompt of 300" in text
    assert "RAM" in text
    (models / "broken.gguf").write_bytes(b"GGUF")
    write_adapter(models / "lora.gguf")
    every = charlie(tmp_path, "models", "fit", "--json")
    assert [each["role"] for each in every.json].count("instruct") >= 1
    assert str(file) in [each["file"] for each in every.json]
    assert "broken.gguf" in every.err
    assert "lora.gguf" in every.err
    with Hub(file.read_bytes(), file="model-Q4_K_M.gguf").served() as address:
        (remote,) = charlie(tmp_path, "models", "fit", "owner/name", "--json", HF_ENDPOINT=address).json
        assert {**remote, "file": ""}.keys() == one.keys()
        assert (remote["file"], remote["needed"], remote["fits"]) == ("model-Q4_K_M.gguf", one["needed"], True)
        gone = charlie(tmp_path, "models", "fit", "owner/name/none.gguf", HF_ENDPOINT=address)
        assert refused(gone) == "The repository owner/name has no file none.gguf."


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    assert "There is no model file" in refused(charlie(tmp_path, "models", "fit", "none.gguf"))
    adapter = write_adapter(tmp_path / "lora.gguf")
    assert "holds no language model but an adapter" in refused(charlie(tmp_path, "models", "fit", str(adapter)))
