"""Program files: their content, and the files that are refused."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import CharlieError
from core.programs.prompts import number_entries
from core.programs.saved import load_program, save_program, signature_hash
from core.programs.signatures import recall_program, title_program
from tests.compiled import run_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = "0123456789abcdef-01234567-starter"
RUN = run_of("recall", MODEL)


@pytest.fixture
def optimized() -> Any:
    import dspy

    program = recall_program()
    program.predict.signature = program.predict.signature.with_instructions("Answer in rhyme.")
    program.predict.demos = [
        dspy.Example(
            augmented=True,
            question="Où?",
            entries=number_entries(["À Lyon.", "Rain."]),
            answer="in Lyon",
            citations=[1],
        )
    ]
    program.history.append("not for the file")
    return program


@pytest.fixture
def saved(tmp_path: Path, optimized: Any) -> Path:
    path = tmp_path / "programs" / "recall.json"
    save_program(path, optimized, RUN)
    return path


def test_a_program_survives_a_round_trip(saved: Path) -> None:
    program = recall_program()
    meta = load_program(saved, program, MODEL)
    assert program.predict.signature.instructions == "Answer in rhyme."
    (demo,) = program.predict.demos
    assert demo.toDict() == {
        "question": "Où?",
        "entries": "[1] À Lyon.\n\n[2] Rain.",
        "answer": "in Lyon",
        "citations": [1],
    }
    assert meta.run == RUN
    assert meta.versions.keys() == {"dspy", "llama-cpp-python"}
    assert program.predict.lm is None


def test_saving_leaves_one_whole_file(saved: Path) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["recall.json"]
    assert stat.S_IMODE(saved.parent.stat().st_mode) == 0o700
    assert "not for the file" not in saved.read_text()


def test_saving_into_an_unwritable_folder_is_an_error(tmp_path: Path, optimized: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CharlieError, match="cannot be written"):
        save_program(tmp_path / "file" / "x.json", optimized, RUN)


def _set(*keys: str, value: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[int(key)] if isinstance(data, list) else data[key]
        data[keys[-1]] = value

    return change


PREDICT = ("predictors", "predict")

TAMPERED: dict[str, Callable[[Any], None]] = {
    "an lm": _set(*PREDICT, "lm", value={"model": "openai/some-cloud-model"}),
    "an attribute": _set(*PREDICT, "forward", value="x"),
    "another key": _set("metadata", value={}),
    "another format": _set("format", value=1),
    "no demos": _set(*PREDICT, "demos", value=None),
    "instructions that are not text": _set(*PREDICT, "instructions", value=["x"]),
    "a demo with another field": _set(*PREDICT, "demos", "0", "lm", value="x"),
    "a demo of another type": _set(*PREDICT, "demos", "0", "citations", value="all"),
    "another signature": _set("signature", value="0" * 16),
    "another model": _set("run", "model", value=MODEL + "-other"),
    "another predictor": _set("predictors", "second", value={"instructions": "", "demos": []}),
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED.keys())
def test_a_tampered_file_is_refused_and_changes_nothing(saved: Path, change: Callable[[Any], None]) -> None:
    data = json.loads(saved.read_text())
    change(data)
    saved.write_text(json.dumps(data))
    program = recall_program()
    before = vars(program.predict).copy()
    with pytest.raises(CharlieError) as refused:
        load_program(saved, program, MODEL)
    assert refused.value.hint
    assert vars(program.predict) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recall.json"
    path.write_bytes(content)
    with pytest.raises(CharlieError, match="not a program"):
        load_program(path, recall_program(), MODEL)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CharlieError, match="cannot be read"):
        load_program(tmp_path / "none.json", recall_program(), MODEL)


def test_a_program_of_another_task_is_refused(saved: Path) -> None:
    with pytest.raises(CharlieError, match="other fields"):
        load_program(saved, title_program(), MODEL)


def test_the_signature_hash_depends_on_fields_and_not_on_instructions(optimized: Any) -> None:
    assert signature_hash(optimized) == signature_hash(recall_program()) != signature_hash(title_program())
