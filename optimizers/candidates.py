"""The log of an optimization: every candidate program with its score."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import CharlieError
from core.programs.saved import SavedPredictor

if TYPE_CHECKING:
    from pathlib import Path

    Predictors = dict[str, SavedPredictor]


@dataclass(frozen=True, slots=True)
class Candidate:
    predictors: Predictors
    score: float
    """In percent, on the validation set."""


@dataclass(slots=True)
class Candidates:
    """Each candidate is logged once, at once."""

    file: Path
    found: list[Candidate] = field(default_factory=list)

    @property
    def best(self) -> Candidate | None:
        """The first candidate with the highest score."""
        return max(self.found, key=lambda each: each.score, default=None)

    def add(self, candidate: Candidate) -> None:
        if any(candidate.predictors == each.predictors for each in self.found):
            return
        self.found.append(candidate)
        predictors = {name: part.model_dump() for name, part in candidate.predictors.items()}
        self._write({"candidate": len(self.found), "score": candidate.score, "predictors": predictors}, "a")

    def start(self, run: dict[str, Any]) -> None:
        """Start a new log with the parameters of the run."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write({"run": run}, "w")

    def resume(self, run: dict[str, Any]) -> None:
        """Read the candidates of an interrupted run; an incomplete last line is dropped.

        Raises CharlieError when there is no such run, or its parameters were different.
        """
        try:
            lines = self.file.read_text(encoding="utf-8").splitlines(keepends=True)
            first, *rest = [json.loads(line) for line in lines if line.endswith("\n")]
            started = first["run"]
            self.found = [
                Candidate({name: SavedPredictor(**part) for name, part in row["predictors"].items()}, row["score"])
                for row in rest
            ]
        except FileNotFoundError as error:
            raise CharlieError("There is no run to resume.", "Leave out --resume to start one.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CharlieError(f"The log {self.file} cannot be read.", "Leave out --resume to start again.") from error
        if other := [name for name in run if run[name] != started.get(name)]:
            raise CharlieError(
                f"The run was started with another {other[0]}: {started.get(other[0])}, not {run[other[0]]}.",
                "Use the same value, or leave out --resume to start again.",
            )
        if lines and not lines[-1].endswith("\n"):
            self.file.write_text("".join(lines[:-1]), encoding="utf-8")

    def _write(self, row: dict[str, Any], mode: str) -> None:
        with self.file.open(mode, encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
