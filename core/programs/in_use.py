"""The compiled programs that optimizers have written, and the ones in use by the app. Never loads DSPy.

The program in use is a copy, so another run of an optimizer does not change the app.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import CharlieError, NotFoundError
from core.programs.saved import read_program, write_program

if TYPE_CHECKING:
    from pathlib import Path

    from core.paths import Paths
    from core.programs.saved import SavedProgram


@dataclass(frozen=True, slots=True)
class Compiled:
    """A file that an optimizer has written; `saved` is None and `error` has the reason when it is unusable."""

    name: str
    saved: SavedProgram | None
    in_use: bool
    error: str = ""


def compiled_folder(paths: Paths) -> Path:
    """The output folder of the optimizers."""
    return paths.programs / "compiled"


def used_file(paths: Paths, program: str) -> Path:
    """The file of the compiled program in use; without it the app uses the program's default."""
    return paths.programs / f"{program}.json"


def compiled(paths: Paths) -> list[Compiled]:
    """All compiled programs, by name."""
    found = []
    for file in sorted(compiled_folder(paths).glob("[!.]*.json")):
        try:
            saved = read_program(file)
            found.append(Compiled(file.stem, saved, in_use=in_use(paths, saved.run.program) == saved))
        except CharlieError as error:
            found.append(Compiled(file.stem, None, in_use=False, error=error.message))
    return found


def in_use(paths: Paths, program: str) -> SavedProgram | None:
    """The program in use; None for the default. Raises CharlieError for an unusable file."""
    file = used_file(paths, program)
    return read_program(file) if file.exists() else None


def find(paths: Paths, name: str) -> SavedProgram:
    """A compiled program by its file name. Raises NotFoundError, or CharlieError for an unusable file."""
    if file := next((file for file in compiled_folder(paths).glob("[!.]*.json") if file.stem == name), None):
        return read_program(file)
    raise NotFoundError(f"There is no compiled program '{name}'.", "`charlie programs list` shows them.")


def use(paths: Paths, saved: SavedProgram) -> None:
    """Let the app use a program, starting with the next job."""
    write_program(used_file(paths, saved.run.program), saved)


def forget_starters(paths: Paths) -> None:
    """Remove the programs that were compiled for the starter model of earlier versions."""
    for file in [*paths.programs.glob("*.json"), *compiled_folder(paths).glob("*.json")]:
        with suppress(CharlieError, OSError):
            if read_program(file).run.model.endswith("-starter-instruct"):
                file.unlink()


def reset(paths: Paths, program: str) -> bool:
    """Return to the default program. Returns whether another was in use."""
    file = used_file(paths, program)
    existed = file.exists()
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise CharlieError(f"The file {file} cannot be removed: {error.strerror}.", "Remove it by hand.") from error
    return existed
