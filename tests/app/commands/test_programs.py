"""`charlie programs`, as real processes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from core.model_files.fingerprint import file_id
from core.model_files.spec import resolve
from core.programs import in_use as programs_in_use
from core.programs.in_use import compiled_folder, find, in_use, reset, use, used_file
from core.programs.saved import Score, read_program, write_program
from core.programs.signatures import PROGRAMS
from core.roles import Role
from core.settings_file import load_settings
from tests.app.commands.charlie import charlie, environment, refused
from tests.compiled import write_compiled

if TYPE_CHECKING:
    from pathlib import Path

    from core.paths import Paths


def test_nothing_is_compiled_yet(home: Path) -> None:
    listed = charlie(home, "programs", "list")
    assert listed.code == 0
    assert listed.out.splitlines()[0].split(maxsplit=1) == [next(iter(PROGRAMS)), "default"]
    assert "No optimizer has written a program yet" in listed.err
    assert charlie(home, "programs", "list", "--json").json == {
        "programs": {name: {"in_use": "", "error": ""} for name in PROGRAMS},
        "compiled": [],
    }


def test_listed_used_and_reset(paths: Paths, home: Path) -> None:
    saved = write_compiled(paths, "reflection", "reflection-bootstrap")
    write_compiled(paths, "title", "title-mipro", model="another")
    (compiled_folder(paths) / "broken.json").write_text("{}")
    text = charlie(home, "programs", "list").out
    assert "10.0 → 50.0% [40.0, 60.0]  gain 40.0% [30.0, 50.0]  significant  8/6/9 train/validation/test" in text
    assert "made for another model" in text
    assert "is not a program of Charlie" in text
    listed = charlie(home, "programs", "list", "--json").json["compiled"]
    assert [(each["name"], each.get("fits"), "error" in each) for each in listed] == [
        ("broken", None, True),
        ("reflection-bootstrap", True, False),
        ("title-mipro", False, False),
    ]
    used = charlie(home, "programs", "use", "reflection-bootstrap")
    assert used.code == 0
    assert used.err.splitlines() == [
        "'reflection' now uses 'reflection-bootstrap', starting with the next job.",
    ]
    assert in_use(paths, "reflection") == saved
    after = charlie(home, "programs", "list", "--json").json
    assert after["programs"]["reflection"] == {"in_use": "reflection-bootstrap", "error": ""}
    assert [each["name"] for each in after["compiled"] if each.get("in_use")] == ["reflection-bootstrap"]
    assert charlie(home, "programs", "reset").err == "'reflection' now uses its default, starting with the next job.\n"
    assert in_use(paths, "reflection") is None
    assert charlie(home, "programs", "reset", "reflection").err == "'reflection' already uses its default.\n"
    assert charlie(home, "programs", "reset").err == "All programs already use their defaults.\n"


def test_a_program_that_got_worse_is_not_offered(paths: Paths, home: Path) -> None:
    saved = write_compiled(paths, "title", "title-gepa")
    worse = saved.model_copy(update={"run": saved.run.model_copy(update={"gain": Score(mean=-7.5, low=-9, high=1)})})
    write_program(compiled_folder(paths) / "title-gepa.json", worse)
    assert charlie(home, "programs", "list", "--json").json["compiled"] == []
    assert "gain" in charlie(home, "programs", "show", "title-gepa").out
    assert "answers worse than the default (-7.5%" in refused(charlie(home, "programs", "use", "title-gepa"))
    assert not used_file(paths, "title").exists()


def test_a_program_that_comes_with_charlie_is_in_use_for_its_model_until_reset(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs_in_use, "SHIPPED", tmp_path)
    header = resolve(load_settings(), paths, Role.INSTRUCT).header
    saved = write_compiled(paths, "recall", "recall-bootstrap")
    assert in_use(paths, "recall", header) is None
    write_program(tmp_path / f"recall-{header.path.stem}.json", saved)
    assert in_use(paths, "recall", header) == saved
    assert in_use(paths, "title", header) is None
    other = saved.model_copy(update={"run": saved.run.model_copy(update={"model": "another"})})
    write_program(tmp_path / f"recall-{header.path.stem}.json", other)
    assert in_use(paths, "recall", header) is None
    write_program(tmp_path / f"recall-{header.path.stem}.json", saved)
    assert reset(paths, "recall", header)
    assert in_use(paths, "recall", header) is None
    assert not reset(paths, "recall", header)
    use(paths, read_program(find(paths, f"recall-{header.path.stem}")))
    assert in_use(paths, "recall", header) == saved


def test_shown_in_full(paths: Paths, home: Path) -> None:
    saved = write_compiled(paths, "title", "title-bootstrap", instructions="Two lines\nof it.")
    shown = charlie(home, "programs", "show", "title-bootstrap")
    for part in ("Two lines\nof it.", "title: A day of songs", "1,234 answers", saved.run.model, saved.signature):
        assert part in shown.out
    assert charlie(home, "programs", "show", "title-bootstrap", "--json").json == saved.model_dump()


def test_an_incompatible_program_is_refused_and_changes_nothing(paths: Paths, home: Path) -> None:
    write_compiled(paths, "title", "other-model", model="another")
    saved = write_compiled(paths, "title", "other-fields")
    other_fields = saved.model_copy(update={"signature": "0"})
    (compiled_folder(paths) / "other-fields.json").write_text(other_fields.model_dump_json())
    run = saved.run.model_copy(update={"program": "poem"})
    (compiled_folder(paths) / "poem.json").write_text(saved.model_copy(update={"run": run}).model_dump_json())
    (compiled_folder(paths) / "broken.json").write_text('{"lm": 1}')
    for name, why in (
        ("other-model", "was made for the model another"),
        ("other-fields", "was made for other fields"),
        ("poem", "which this version does not have"),
        ("broken", "is not a program of Charlie"),
        ("../title", "There is no compiled program"),
    ):
        assert why in refused(charlie(home, "programs", "use", name))
    assert not used_file(paths, "title").exists()
    assert "There is no program 'x'" in refused(charlie(home, "programs", "reset", "x"))


def test_an_incompatible_program_in_use_is_reported(paths: Paths, home: Path) -> None:
    saved = write_compiled(paths, "title", "title-bootstrap", model="another")
    used_file(paths, "title").write_text(saved.model_dump_json())
    used_file(paths, "reflection").write_text("{}")
    listed = charlie(home, "programs", "list", "--json").json["programs"]
    assert listed["title"]["in_use"] == "title-bootstrap"
    assert listed["title"]["error"].startswith("It was made for another model")
    assert "is not a program of Charlie" in listed["reflection"]["error"]


@pytest.mark.parametrize("command", ["list", "show"])
def test_looking_needs_neither_dspy_nor_llama(paths: Paths, home: Path, command: str) -> None:
    write_compiled(paths, "title", "title-bootstrap")
    arguments = ["programs", command, *(["title-bootstrap"] if command == "show" else [])]
    script = (
        "import sys; from app.command_line import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        "print(sorted({'dspy', 'llama_cpp', 'litellm'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(home), check=True, timeout=60
    )
    assert done.stderr == "[]\n"


def test_the_id_of_the_file_is_that_of_the_loaded_model(paths: Paths) -> None:
    """`charlie programs use` compares the file's id, the worker the model's."""
    from core.dspy_lm.engine import model_id
    from core.llama.engine import InstructModel, load_as

    spec = resolve(load_settings(), paths, Role.INSTRUCT)
    model = load_as(InstructModel, spec)
    try:
        assert model_id(model) == file_id(spec.header, spec.header.chat_template)
    finally:
        model.close()
