"""The models that Charlie offers: data in the package, or a newer list in the data folder."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import CharlieError
from core.files import write_atomically

if TYPE_CHECKING:
    from core.paths import Paths
    from core.roles import Role

PACKAGED = Path(__file__).with_name("catalogue.toml")

Count = Annotated[int, Field(gt=0)]


class CatalogueModel(BaseModel):
    """One model. Its figures are rounded: they serve predictions until the file's own header is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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


class Catalogue(BaseModel):
    """The models of each role, smallest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruct: Annotated[tuple[CatalogueModel, ...], Field(min_length=1)]
    embedding: Annotated[tuple[CatalogueModel, ...], Field(min_length=1)]
    reranker: Annotated[tuple[CatalogueModel, ...], Field(min_length=1)]

    def of(self, role: Role) -> tuple[CatalogueModel, ...]:
        models: tuple[CatalogueModel, ...] = getattr(self, role)
        return models


def read_catalogue(file: Path) -> Catalogue:
    """Raises CharlieError for a file that is no catalogue."""
    try:
        return Catalogue.model_validate(tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        reason = error.strerror or str(error)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except ValueError as error:  # no UTF-8, or no TOML
        reason = str(error)
    raise CharlieError(f"The file {file} is no catalogue of models: {reason}.", "The present catalogue stays.")


def catalogue(paths: Paths) -> Catalogue:
    """The newer list that a person took, while it can be read, else the packaged one."""
    try:
        return read_catalogue(paths.catalogue)
    except CharlieError:
        return read_catalogue(PACKAGED)


def refresh(paths: Paths, file: Path) -> Catalogue:
    """Take a newer list. Raises CharlieError for a file that is no catalogue, OSError when it cannot be stored."""
    found = read_catalogue(file)
    write_atomically(paths.catalogue, file.read_text("utf-8"))
    return found
