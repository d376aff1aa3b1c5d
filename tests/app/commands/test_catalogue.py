"""`charlie models catalogue` and `pull` without a repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model_files.catalogue import PACKAGED
from core.paths import find_paths
from tests.app.commands.charlie import charlie
from tests.hub import Hub
from tests.model_files import write_random
from tests.rates import write_rates

if TYPE_CHECKING:
    from pathlib import Path


def test_the_catalogue_is_listed_and_renewed(home: Path) -> None:
    find_paths().make()
    write_rates(find_paths())
    lines = charlie(home, "models", "catalogue", "--json").lines
    assert sum(line["best"] for line in lines) == 3
    assert {line["role"] for line in lines} == {"instruct", "embedding", "reranker"}
    assert all(line["speed"]["decode"] > 0 and line["memory"] > line["model"]["bytes"] for line in lines)
    newer = home / "newer.toml"
    newer.write_text(PACKAGED.read_text("utf-8").replace("Qwen3.5 9B", "Qwen4 9B"))
    assert "Qwen4 9B" in charlie(home, "models", "catalogue", "--refresh", str(newer)).out
    assert "Qwen4 9B" in charlie(home, "models", "catalogue").out
    newer.write_text("no catalogue")
    refused = charlie(home, "models", "catalogue", "--refresh", str(newer))
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.endswith("\nThe present catalogue stays.\n")
    assert "newer.toml is no catalogue of models" in refused.err


def test_pull_takes_what_suits_the_machine(home: Path, tmp_path: Path) -> None:
    find_paths().make()
    write_rates(find_paths())
    lines = charlie(home, "models", "catalogue", "--json").lines
    model = next(line["model"] for line in lines if line["best"] and line["role"] == "instruct")
    hub = Hub(write_random(tmp_path / "tiny.gguf").read_bytes(), model["repo"], model["file"])
    with hub.served() as address:
        ended = charlie(home, "models", "pull", "instruct", HF_ENDPOINT=address)
    assert ended.out == f"{find_paths().models / model['file']}\n"
