"""The models that Charlie offers: data in the package, or a newer list in the data folder."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from core.errors import CharlieError
from core.files import write_atomically
from core.paths import Paths
from core.roles import Role

PACKAGED = Path(__file__).with_name("catalogue.toml")

Count = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CatalogueModel:
    """One model. Its figures are rounded: they serve predictions until the file's own header is read."""

    name: Annotated[str, Field(min_length=1, max_length=18)]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    file: Annotated[str, Field(pattern=r"^[\w./-]+\.gguf$")]
    licence: Annotated[str, Field(max_length=20)]
    context: Count
    good_for: Annotated[str, Field(max_length=48)]
    parameters: Count
    active: Count
    """The parameters that one token reads."""
    layers: Count
    bytes: Count
    thoughts: Annotated[int, Field(ge=0)] = 0
    """The tokens that it usually thinks before it answers."""


Models = Annotated[tuple[CatalogueModel, ...], Field(min_length=1, max_length=8)]
CATALOGUE: Final = TypeAdapter(Annotated[dict[Role, Models], Field(min_length=len(Role))])
"""The models of every role, smallest first; no more than a low window shows."""


def read_catalogue(file: Path) -> dict[Role, Models]:
    """Raises CharlieError for a file that is no catalogue."""
    try:
        return CATALOGUE.validate_python(tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        reason = error.strerror or str(error)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    except ValueError as error:  # no UTF-8, or no TOML
        reason = str(error)
    raise CharlieError(f"The file {file} is no catalogue of models: {reason}.", "The present catalogue stays.")


def catalogue(paths: Paths) -> dict[Role, Models]:
    """The newer list that a person took, while it can be read, else the packaged one."""
    try:
        return read_catalogue(paths.catalogue)
    except CharlieError:
        return read_catalogue(PACKAGED)


def refresh(paths: Paths, file: Path) -> None:
    """Take a newer list. Raises CharlieError for a file that is no catalogue, OSError when it cannot be stored."""
    read_catalogue(file)
    write_atomically(paths.catalogue, file.read_bytes())
