"""The compiled programs that optimizers have written, and the ones in use by the app. Never loads DSPy.

The program in use is a copy, so another run of an optimizer does not change the app. Where none was chosen, one that
comes with Charlie for just this model is in use.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from core.errors import CharlieError, NotFoundError
from core.files import write_atomically
from core.model_files.fingerprint import file_id
from core.model_files.gguf import Header
from core.paths import Paths
from core.programs.saved import SavedProgram, read_program, write_program

SHIPPED = Path(__file__).parent / "data"
"""Programs that come with Charlie, `PROGRAM-MODEL.json`: the name of the model's file, less its ending."""


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
    if model is None:
        return None
    # One that comes with Charlie for just this model. The name is compared first: the id needs the model's whole file.
    file = SHIPPED / f"{program}-{model.path.stem}.json"
    fits = file.exists() and read_program(file).run.model == file_id(model, model.chat_template)
    return file if fits else None


def compiled(paths: Paths, model: Header | None) -> dict[str, SavedProgram | CharlieError]:
    """The compiled programs to choose from, by name, or why one is unusable: what got worse is not among them."""
    found: dict[str, SavedProgram | CharlieError] = {}
    shipped = SHIPPED.glob(f"*-{model.path.stem}.json") if model else ()
    for file in sorted([*compiled_folder(paths).glob("[!.]*.json"), *shipped]):
        try:
            if (saved := read_program(file)).run.gain.mean >= 0:
                found[file.stem] = saved
        except CharlieError as error:
            found[file.stem] = error
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


def forget_starters(paths: Paths) -> None:
    """Remove the programs that were compiled for the starter model of earlier versions."""
    for file in [*paths.programs.glob("*.json"), *compiled_folder(paths).glob("*.json")]:
        with suppress(CharlieError, OSError):
            if read_program(file).run.model.endswith("-starter-instruct"):
                file.unlink()


def reset(paths: Paths, program: str, model: Header | None = None) -> bool:
    """Return to the default program, also from one that comes with Charlie. Returns whether another was in use."""
    if file_in_use(paths, program, model) is None:
        return False
    file = used_file(paths, program)
    try:
        write_atomically(file, "")
    except OSError as error:
        raise CharlieError(f"The file {file} cannot be written: {error.strerror}.", "Make it writable.") from error
    return True
