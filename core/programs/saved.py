"""Program files: JSON with the instructions and demos of each predictor.

A file cannot run code, load a model or set an attribute. It is bound to the model and the signature for which it was
optimized. DSPy is imported inside the functions.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from core.errors import CharlieError
from core.files import write_atomically

if TYPE_CHECKING:
    import dspy

PACKAGES = ("dspy", "llama-cpp-python")
HINT = "Run the optimizer again, or remove the file."


class Inert(BaseModel):
    """Data in a file; undeclared fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SavedPredictor(Inert):
    """The data of one predictor."""

    instructions: str
    demos: list[dict[str, JsonValue]]


class Score(Inert):
    """The mean over the test examples with its 95% confidence interval, in percent."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f}% [{self.low:.1f}, {self.high:.1f}]"


class Sets(Inert):
    """The numbers of examples in the three disjoint sets."""

    train: int
    validation: int
    test: int


class Run(Inert):
    """The optimization of a program. Scores are from the test set, which the optimizer has not seen."""

    program: str
    model: str
    """`core.dspy_lm.engine.model_id` of the optimized model."""
    optimizer: str
    budget: int
    seed: int
    before: Score
    after: Score
    gain: Score
    """After minus before, example by example."""
    sets: Sets
    candidates: int
    answers: int
    """Number of model answers in the whole run."""
    seconds: float


class SavedProgram(Inert):
    """The content of a program file."""

    format: Literal[2] = 2
    run: Run
    signature: str
    """See `signature_hash`."""
    created: str
    versions: dict[str, str]
    predictors: dict[str, SavedPredictor]


def save_program(path: Path, program: dspy.Module, run: Run) -> SavedProgram:
    """Write the instructions and demos of `program` as JSON. Raises CharlieError when the file cannot be written."""
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
    """Raises CharlieError when the file cannot be written."""
    text = json.dumps(saved.model_dump(), ensure_ascii=False, indent=2) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise CharlieError(
            f"The program cannot be written to {path}: {error.strerror}.", "Make it writable."
        ) from error


def read_program(path: Path) -> SavedProgram:
    """Read a file without loading DSPy. Raises CharlieError for a file with any other content."""
    try:
        return SavedProgram.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CharlieError(f"The program {path} cannot be read: {error.strerror}.", HINT) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CharlieError(f"The file {path} is not a program of Charlie: {place}: {first['msg']}.", HINT) from error


def load_program(path: Path, program: dspy.Module, model: str) -> SavedProgram:
    """Set the instructions and demos of a new `program` from a file.

    Raises CharlieError, and changes nothing, when the file has other content, or was made for another signature or
    another `model` (`core.dspy_lm.engine.model_id`).
    """
    saved = read_program(path)
    if saved.signature != signature_hash(program):
        raise CharlieError(f"The program {path} was made for other fields than this version has.", HINT)
    if saved.run.model != model:
        raise CharlieError(f"The program {path} was made for the model {saved.run.model}, not for {model}.", HINT)
    predictors = dict(program.named_predictors())
    if saved.predictors.keys() != predictors.keys():
        raise CharlieError(f"The program {path} was made for other predictors than this version has.", HINT)
    try:
        fill(program, saved.predictors)
    except ValueError as error:
        raise CharlieError(f"The program {path} has a demo that does not fit its fields: {error}.", HINT) from error
    return saved


def predictors_of(program: dspy.Module) -> dict[str, SavedPredictor]:
    """The parts of a program that an optimizer may change."""
    return {
        key: SavedPredictor(
            instructions=predictor.signature.instructions,
            demos=[_demo_data(predictor.signature, demo) for demo in predictor.demos],
        )
        for key, predictor in program.named_predictors()
    }


def fill(program: dspy.Module, saved: dict[str, SavedPredictor]) -> None:
    """Set the instructions and demos of a program with the same predictors.

    Raises ValueError, and changes nothing, for a demo that does not fit.
    """
    predictors = dict(program.named_predictors())
    demos = {key: [_demo(predictors[key].signature, demo) for demo in part.demos] for key, part in saved.items()}
    for key, part in saved.items():
        predictors[key].signature = predictors[key].signature.with_instructions(part.instructions)
        predictors[key].demos = demos[key]


def signature_hash(program: dspy.Module) -> str:
    """Hash of the predictors' names and of their fields' names, kinds and types; instructions do not count."""
    fields = [
        (key, name, name in predictor.signature.input_fields, str(info.annotation))
        for key, predictor in program.named_predictors()
        for name, info in predictor.signature.fields.items()
    ]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


def _demo_data(signature: Any, demo: Any) -> dict[str, JsonValue]:
    """Only the fields of the signature: DSPy adds others, and examples may have more."""
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
