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
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from core.errors import CharlieError

if TYPE_CHECKING:
    from pathlib import Path

    import dspy

PACKAGES = ("dspy", "llama-cpp-python")
HINT = "Run the optimizer again, or remove the file."


class Inert(BaseModel):
    """Data of a file; anything that is not declared is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SavedPredictor(Inert):
    """All that a file may say of one predictor."""

    instructions: str
    demos: list[dict[str, JsonValue]]


class Score(Inert):
    """A mean over the test examples and its 95% confidence interval, in percent."""

    mean: float
    low: float
    high: float


class Sets(Inert):
    """How many examples there were; no two sets share one."""

    train: int
    validation: int
    test: int


class Run(Inert):
    """How a program was found. Scores are on the test set, which the optimizer has not seen."""

    program: str
    model: str
    """`core.lm.model_id` of the model it was optimized for."""
    optimizer: str
    budget: int
    seed: int
    before: Score
    after: Score
    gain: Score
    """After less before, example by example."""
    sets: Sets
    candidates: int
    answers: int
    """Of the model, in the whole run."""
    seconds: float


class SavedProgram(Inert):
    """All that a program's file may hold."""

    format: Literal[2] = 2
    run: Run
    signature: str
    """Hash of the predictors' names and fields (not of their instructions)."""
    created: str
    versions: dict[str, str]
    predictors: dict[str, SavedPredictor]


def save_program(path: Path, program: dspy.Module, run: Run) -> SavedProgram:
    """Write `program`'s instructions and demos as JSON, all or nothing.

    Raises CharlieError when the file cannot be written.
    """
    saved = SavedProgram(
        run=run,
        signature=signature_hash(program),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={package: version(package) for package in PACKAGES},
        predictors=predictors_of(program),
    )
    write_program(path, saved)
    return saved


def write_program(path: Path, saved: SavedProgram) -> None:
    """All or nothing. Raises CharlieError when the file cannot be written."""
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
            f"The program cannot be written to {path}: {error.strerror}.", "Make it writable."
        ) from error


def read_program(path: Path) -> SavedProgram:
    """What a file holds, without DSPy. Raises CharlieError when it is not such a file, or holds anything else."""
    try:
        return SavedProgram.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CharlieError(f"The program {path} cannot be read: {error.strerror}.", HINT) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CharlieError(f"The file {path} is not a program of Charlie: {place}: {first['msg']}.", HINT) from error


def load_program(path: Path, program: dspy.Module, model: str) -> SavedProgram:
    """Give `program`, fresh from its factory, the instructions and demos of the file.

    Raises CharlieError, having changed nothing, when the file is not such a file, holds anything else, or was
    made for another signature or another `model` (`core.lm.model_id`).
    """
    saved = read_program(path)
    if saved.signature != signature_hash(program):
        raise CharlieError(f"The program {path} was made for other fields than this version has.", HINT)
    if saved.run.model != model:
        raise CharlieError(
            f"The program {path} was made for the model {saved.run.model}, and this one is {model}.", HINT
        )
    predictors = dict(program.named_predictors())
    if saved.predictors.keys() != predictors.keys():
        raise CharlieError(f"The program {path} was made for other predictors than this version has.", HINT)
    try:
        fill(program, saved.predictors)
    except ValueError as error:
        raise CharlieError(f"The program {path} has a demo that does not fit its fields: {error}.", HINT) from error
    return saved


def predictors_of(program: dspy.Module) -> dict[str, SavedPredictor]:
    """What an optimizer may change of a program."""
    return {
        key: SavedPredictor(
            instructions=predictor.signature.instructions,
            demos=[_demo_data(predictor.signature, demo) for demo in predictor.demos],
        )
        for key, predictor in program.named_predictors()
    }


def fill(program: dspy.Module, saved: dict[str, SavedPredictor]) -> None:
    """Give a program's predictors, which are the same, their instructions and demos.

    Raises ValueError, having changed nothing, for a demo that does not fit.
    """
    predictors = dict(program.named_predictors())
    demos = {key: [_demo(predictors[key].signature, demo) for demo in part.demos] for key, part in saved.items()}
    for key, part in saved.items():
        predictors[key].signature = predictors[key].signature.with_instructions(part.instructions)
        predictors[key].demos = demos[key]


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


def _demo(signature: Any, demo: dict[str, JsonValue]) -> Any:
    import dspy

    if unknown := demo.keys() - signature.fields.keys():
        raise ValueError(f"there is no field {min(unknown)}")
    values = {}
    for name, value in demo.items():
        try:
            values[name] = TypeAdapter(signature.fields[name].annotation).validate_python(value)
        except ValidationError as error:
            raise ValueError(f"{name}: {error.errors(include_url=False)[0]['msg']}") from error
    return dspy.Example(**values)
