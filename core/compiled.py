"""The compiled programs that optimizers have written, and which of them the app uses. Never loads DSPy.

What is in use of a program is a file of its own, a copy, so that another run of an optimizer changes nothing in the
app by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import CharlieError, NotFoundError
from core.saved_programs import read_program, write_program

if TYPE_CHECKING:
    from pathlib import Path

    from core.paths import Paths
    from core.saved_programs import SavedProgram


@dataclass(frozen=True, slots=True)
class Compiled:
    """A file that an optimizer has written; `error` says why it cannot be used, if it holds no program."""

    name: str
    saved: SavedProgram | None
    in_use: bool
    error: str = ""


def folder(paths: Paths) -> Path:
    """Where optimizers write."""
    return paths.programs / "compiled"


def used_file(paths: Paths, program: str) -> Path:
    """What the app uses of a program, if it is there."""
    return paths.programs / f"{program}.json"


def compiled(paths: Paths) -> list[Compiled]:
    """All that is there, by name."""
    found = []
    for file in sorted(folder(paths).glob("[!.]*.json")):
        try:
            saved = read_program(file)
            found.append(Compiled(file.stem, saved, in_use=in_use(paths, saved.run.program) == saved))
        except CharlieError as error:
            found.append(Compiled(file.stem, None, in_use=False, error=error.message))
    return found


def in_use(paths: Paths, program: str) -> SavedProgram | None:
    """Raises CharlieError for a file that is there and no program."""
    file = used_file(paths, program)
    return read_program(file) if file.exists() else None


def find(paths: Paths, name: str) -> SavedProgram:
    """A compiled program by its file's name. Raises NotFoundError, or CharlieError for a file that is no program."""
    if file := next((file for file in folder(paths).glob("[!.]*.json") if file.stem == name), None):
        return read_program(file)
    raise NotFoundError(f"There is no compiled program '{name}'.", "`charlie programs list` names them.")


def use(paths: Paths, saved: SavedProgram) -> None:
    """Have the app use a program from the next job on."""
    write_program(used_file(paths, saved.run.program), saved)


def reset(paths: Paths, program: str) -> bool:
    """Have the app use a program as it comes. Returns whether another was in use."""
    file = used_file(paths, program)
    there = file.exists()
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise CharlieError(f"The file {file} cannot be removed: {error.strerror}.", "Remove it by hand.") from error
    return there
