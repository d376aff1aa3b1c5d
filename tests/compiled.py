"""Writes compiled programs for the bundled model, as an optimizer does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.model_files.fingerprint import file_id
from core.model_files.spec import resolve
from core.programs.in_use import compiled_folder
from core.programs.saved import Run, SavedProgram, Score, Sets, save_program
from core.programs.signatures import PROGRAMS
from core.roles import Role
from core.settings_file import load_settings

if TYPE_CHECKING:
    from core.paths import Paths

DEMOS: dict[str, dict[str, Any]] = {
    "title": {"text": "I sang all day.", "title": "A day of songs"},
    "recall": {"entries": "[1] I sang.\n\n[2] I slept.", "question": "What?", "citations": [1], "answer": "You sang."},
    "reflection": {
        "entries": "[1] I sang all day.",
        "themes": ["songs"],
        "reflection": "You sang all day.",
        "question": "What will you sing?",
    },
}


def run_of(program: str, model: str) -> Run:
    return Run(
        program=program,
        model=model,
        optimizer="bootstrap",
        budget=20,
        seed=0,
        before=Score(mean=10, low=5, high=15),
        after=Score(mean=50, low=40, high=60),
        gain=Score(mean=40, low=30, high=50),
        sets=Sets(train=8, validation=6, test=9),
        candidates=4,
        answers=1234,
        seconds=7.5,
    )


def write_compiled(
    paths: Paths, program: str, name: str, *, model: str = "", instructions: str = "Say it in your own words."
) -> SavedProgram:
    """Writes `compiled/NAME.json` with other instructions and one demo, for the bundled model or for `model`."""
    import dspy

    spec = resolve(load_settings(), paths, Role.INSTRUCT)
    made = PROGRAMS[program]()
    made.predict.signature = made.predict.signature.with_instructions(instructions)
    made.predict.demos = [dspy.Example(**DEMOS[program])]
    run = run_of(program, model or file_id(spec.header, spec.header.chat_template))
    return save_program(compiled_folder(paths) / f"{name}.json", made, run)
