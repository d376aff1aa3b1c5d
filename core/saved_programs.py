"""How a program is kept in a file: as JSON, with all that it is bound to, and nothing that could do any harm.

A file holds instructions and demos per predictor and nothing that could build a model or set an attribute;
it is bound to the model and the signature it was optimized for. DSPy is imported inside the functions.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from core.errors import CharlieError

if TYPE_CHECKING:
    import dspy

PACKAGES = ("dspy", "llama-cpp-python")


class SavedPredictor(BaseModel):
    """All that a file may say of one predictor."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    instructions: str
    demos: list[dict[str, JsonValue]]


class SavedProgram(BaseModel):
    """All that a program's file may hold; anything else in it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    program: str
    signature: str
    """Hash of the predictors' names and fields (not of their instructions)."""
    model: str
    """`core.lm.model_id` of the model it was optimized for."""
    optimizer: str
    score_before: float
    score_after: float
    """Percent on the test examples, which the optimizer has not seen."""
    examples: int
    created: str
    versions: dict[str, str]
    predictors: dict[str, SavedPredictor]


def save_program(
    path: Path,
    program: dspy.Module,
    *,
    name: str,
    model: str,
    optimizer: str,
    scores: tuple[float, float],
    examples: int,
) -> SavedProgram:
    """Write `program`'s instructions and demos as JSON, all or nothing.

    `scores` are percent before and after on `examples` test examples. Raises CharlieError when the file
    cannot be written.
    """
    saved = SavedProgram(
        program=name,
        signature=signature_hash(program),
        model=model,
        optimizer=optimizer,
        score_before=scores[0],
        score_after=scores[1],
        examples=examples,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={package: version(package) for package in PACKAGES},
        predictors={
            key: SavedPredictor(
                instructions=predictor.signature.instructions,
                demos=[_demo_data(predictor.signature, demo) for demo in predictor.demos],
            )
            for key, predictor in program.named_predictors()
        },
    )
    text = json.dumps(saved.model_dump(), ensure_ascii=False, indent=2) + "\n"
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):  # There may be no folder to hold it.
            part.unlink()
        raise CharlieError(
            f"The program cannot be written to {path}: {error.strerror}.", "Choose another file with --out."
        ) from error
    return saved


def load_program(path: Path, program: dspy.Module, model: str) -> SavedProgram:
    """Give `program`, fresh from its factory, the instructions and demos of the file.

    Raises CharlieError, having changed nothing, when the file is not such a file, holds anything else, or was
    made for another signature or another `model` (`core.lm.model_id`).
    """
    hint = "Run the optimizer again, or remove the file."
    try:
        saved = SavedProgram.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CharlieError(f"The program {path} cannot be read: {error.strerror}.", hint) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CharlieError(f"The file {path} is not a program of Charlie: {place}: {first['msg']}.", hint) from error
    if saved.signature != signature_hash(program):
        raise CharlieError(f"The program {path} was made for other fields than this version has.", hint)
    if saved.model != model:
        raise CharlieError(f"The program {path} was made for the model {saved.model}, and this one is {model}.", hint)
    predictors = dict(program.named_predictors())
    if saved.predictors.keys() != predictors.keys():
        raise CharlieError(f"The program {path} was made for other predictors than this version has.", hint)
    demos = {
        key: [_checked_demo(path, predictors[key].signature, demo) for demo in part.demos]
        for key, part in saved.predictors.items()
    }
    for key, part in saved.predictors.items():
        predictors[key].signature = predictors[key].signature.with_instructions(part.instructions)
        predictors[key].demos = demos[key]
    return saved


def signature_hash(program: dspy.Module) -> str:
    """Hash of what a demo must fit: each predictor's name, and its fields' names, kinds and types."""
    fields = [
        (key, name, name in predictor.signature.input_fields, str(info.annotation))
        for key, predictor in program.named_predictors()
        for name, info in predictor.signature.fields.items()
    ]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


def _demo_data(signature: Any, demo: Any) -> dict[str, JsonValue]:
    """The signature's fields alone: DSPy adds marks of its own, and examples may have more."""
    return {
        name: TypeAdapter(info.annotation).dump_python(demo[name], mode="json")
        for name, info in signature.fields.items()
        if name in demo
    }


def _checked_demo(path: Path, signature: Any, demo: dict[str, JsonValue]) -> Any:
    import dspy

    hint = "Run the optimizer again, or remove the file."
    if unknown := demo.keys() - signature.fields.keys():
        raise CharlieError(f"The program {path} has a demo with the unknown field {min(unknown)}.", hint)
    try:
        values = {
            name: TypeAdapter(signature.fields[name].annotation).validate_python(value) for name, value in demo.items()
        }
    except ValidationError as error:
        raise CharlieError(f"The program {path} has a demo whose values do not fit its fields.", hint) from error
    return dspy.Example(**values)
