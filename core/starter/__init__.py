"""The starter models: three small GGUF files of random vectors, built on the spot when no model is configured."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CharlieError
from core.settings import Role

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = 1
"""Part of the file names: a change of the models builds them anew."""


def path_of(folder: Path, role: Role) -> Path:
    return folder / f"starter-{role.value}-v{VERSION}.gguf"


def ensure(folder: Path) -> dict[Role, Path]:
    """Build the starter models that are not in `folder` yet: the same bytes every time, on every machine.

    Two processes may build at once: each file appears whole, by a rename. Raises CharlieError when the
    folder cannot be written.
    """
    paths = {role: path_of(folder, role) for role in Role}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for role, path in paths.items():
            if not path.is_file():
                _write_whole(path, _builder(role))
    except OSError as error:
        raise CharlieError(
            f"The starter models cannot be written to {folder}: {error.strerror or error}.",
            "Free some space there, or make the folder writable.",
        ) from error
    return paths


def _builder(role: Role) -> Callable[[Path], None]:
    # numpy and gguf come with the builders; whoever finds the files built never pays for them.
    from core.starter import encoders, instruct

    match role:
        case Role.INSTRUCT:
            return instruct.build
        case Role.EMBEDDING:
            return encoders.build_embedding
        case Role.RERANKER:
            return encoders.build_reranker


def _write_whole(path: Path, build: Callable[[Path], None]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        build(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
