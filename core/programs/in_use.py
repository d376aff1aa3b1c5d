"""The compiled programs that optimizers have written, and the ones in use by the app. Never loads DSPy.

The program in use is a copy, so another run of an optimizer does not change the app. Where none was chosen, one that
comes with Charlie for just this model is in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CharlieError, NotFoundError
from core.files import write_atomically
from core.model_files.fingerprint import file_id
from core.programs.saved import read_program, write_program

if TYPE_CHECKING:
    from core.model_files.gguf import Header
    from core.paths import Paths
    from core.programs.saved import SavedProgram

SHIPPED = Path(__file__).parent / "data"
"""Programs that come with Charlie, `PROGRAM-MODEL.json`: the name of the model's file, less its ending."""


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
    """The file of the compiled program that a person has chosen; an empty one after `reset`."""
    return paths.programs / f"{program}.json"


def file_in_use(paths: Paths, program: str, model: Header | None) -> Path | None:
    """The file of the program in use with a model; None for the program's default."""
    if (chosen := used_file(paths, program)).exists():
        return chosen if chosen.stat().st_size else None
    return _shipped(program, model) if model else None


def _shipped(program: str, model: Header) -> Path | None:
    """The file that comes with Charlie for just this model."""
    # The name is compared first: the id needs the whole file of a model.
    file = SHIPPED / f"{program}-{model.path.stem}.json"
    fits = file.exists() and read_program(file).run.model == file_id(model, model.chat_template)
    return file if fits else None


def compiled(paths: Paths, model: Header | None) -> list[Compiled]:
    """All compiled programs that did not get worse, by name; of those that come with Charlie, the model's."""
    found = []
    shipped = SHIPPED.glob(f"*-{model.path.stem}.json") if model else ()
    for file in sorted([*compiled_folder(paths).glob("[!.]*.json"), *shipped]):
        try:
            saved = read_program(file)
            if saved.run.gain.mean >= 0:
                found.append(Compiled(file.stem, saved, in_use=in_use(paths, saved.run.program, model) == saved))
        except CharlieError as error:
            found.append(Compiled(file.stem, None, in_use=False, error=error.message))
    return found


def in_use(paths: Paths, program: str, model: Header | None = None) -> SavedProgram | None:
    """The program in use; None for the default. Raises CharlieError for an unusable file."""
    file = file_in_use(paths, program, model)
    return read_program(file) if file else None


def find(paths: Paths, name: str) -> Path:
    """The file of a compiled program. Raises NotFoundError."""
    for folder in (compiled_folder(paths), SHIPPED):
        if file := next((file for file in folder.glob("[!.]*.json") if file.stem == name), None):
            return file
    raise NotFoundError(f"There is no compiled program '{name}'.", "`charlie programs list` shows them.")


def use(paths: Paths, saved: SavedProgram) -> None:
    """Let the app use a program, starting with the next job."""
    write_program(used_file(paths, saved.run.program), saved)


def reset(paths: Paths, program: str, model: Header | None = None) -> bool:
    """Return to the default program, also from one that comes with Charlie for `model`.

    Returns whether another was in use.
    """
    file, other = used_file(paths, program), file_in_use(paths, program, model) is not None
    try:
        if model and _shipped(program, model):
            write_atomically(file, "")
        else:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise CharlieError(f"The file {file} cannot be removed: {error.strerror}.", "Remove it by hand.") from error
    return other
