"""`charlie models` on files in parts, on links, and on files that are no models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np

from tests.app.commands.charlie import charlie, refused
from tests.model_files import Size, write_adapter, write_random, write_split

if TYPE_CHECKING:
    from pathlib import Path


def test_a_model_in_parts_is_inspected_planned_and_used_as_one(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    parts = write_split(models / "big.gguf", tensors=9)
    shown = charlie(tmp_path, "models", "inspect", str(parts[1])).out
    assert "in 4 parts" in shown
    inspected = charlie(tmp_path, "models", "inspect", str(parts[1]), "--json").json
    assert inspected["files"] == [str(part) for part in parts]
    assert inspected["file_bytes"] == sum(part.stat().st_size for part in parts)
    listed = charlie(tmp_path, "models", "list", "--json").json
    assert listed["others"] == [str(parts[0])]
    assert charlie(tmp_path, "models", "use", "instruct", str(parts[3])).code == 0
    plan = charlie(tmp_path, "models", "plan", "instruct", "--json").json
    assert (plan["fits"], plan["file"]) == (True, str(parts[0]))
    parts[2].unlink()
    assert refused(charlie(tmp_path, "models", "use", "instruct", str(parts[0]))) == (
        f"The model is in 4 parts, and {parts[2]} is missing."
    )
    assert "is missing" in refused(charlie(tmp_path, "models", "plan", "instruct"))


def test_a_link_to_the_model_in_use_is_not_another_model(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    one = write_random(models / "one.gguf")
    (models / "link.gguf").symlink_to(one)
    assert charlie(tmp_path, "models", "list", "--json").json["others"] == [str(one)]
    assert charlie(tmp_path, "models", "use", "instruct", str(models / "link.gguf")).code == 0
    assert charlie(tmp_path, "models", "list", "--json").json["others"] == []


def test_an_adapter_is_shown_and_refused_as_one(tmp_path: Path) -> None:
    file = tmp_path / "lora.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.ones((2, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    shown = charlie(tmp_path, "models", "inspect", str(file)).out
    assert "an adapter (LoRA)" in shown
    assert "needs" not in shown
    ended = charlie(tmp_path, "models", "use", "instruct", str(file))
    assert "name this file in instruct.lora" in ended.err
    assert refused(ended) == f"The file {file} holds no language model but an adapter (LoRA)."


def test_a_kv_type_that_cannot_be_used_is_named_in_the_plan(tmp_path: Path) -> None:
    file = write_random(tmp_path / "model.gguf", size=Size(width=192, heads=4))
    settings = {"CHARLIE_INSTRUCT__FILE": str(file), "CHARLIE_INSTRUCT__KV_TYPE": "q4_0"}
    ended = charlie(tmp_path, "models", "plan", "instruct", **settings)
    assert "instruct.kv_type" in refused(ended)
    assert 'Set instruct.kv_type = "f16"' in ended.err


def test_a_lora_is_planned_and_answers(tmp_path: Path) -> None:
    base, lora = write_random(tmp_path / "base.gguf"), write_adapter(tmp_path / "mine.gguf")
    settings = {"CHARLIE_INSTRUCT__FILE": str(base), "CHARLIE_INSTRUCT__LORA": str(lora)}
    plain = charlie(tmp_path, "models", "plan", "instruct", "--json", CHARLIE_INSTRUCT__FILE=str(base)).json
    adapted = charlie(tmp_path, "models", "plan", "instruct", "--json", **settings).json
    assert adapted["model"] == f"{plain['model']} + mine"
    assert adapted["parts"]["weights"] - plain["parts"]["weights"] == 2 * 2 * 4 * 64 * 4
    ask = ("ask", "Where did I walk?", "--temperature", "0", "--max-tokens", "20", "--json")
    said = [charlie(tmp_path, *ask, **of).json["text"] for of in ({"CHARLIE_INSTRUCT__FILE": str(base)}, settings)]
    assert said[0] != said[1]
