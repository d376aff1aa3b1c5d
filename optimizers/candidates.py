"""The log of an optimization: each candidate program and its score, as it becomes known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import CharlieError
from core.saved_programs import SavedPredictor

if TYPE_CHECKING:
    from pathlib import Path

    Predictors = dict[str, SavedPredictor]


@dataclass(frozen=True, slots=True)
class Candidate:
    predictors: Predictors
    score: float
    """Percent on the validation set."""


@dataclass(slots=True)
class Candidates:
    """Each is written down once, at once; the best is the first of those with the highest score."""

    file: Path
    found: list[Candidate] = field(default_factory=list)

    @property
    def best(self) -> Candidate | None:
        return max(self.found, key=lambda each: each.score, default=None)

    def add(self, candidate: Candidate) -> None:
        if any(candidate.predictors == each.predictors for each in self.found):
            return
        self.found.append(candidate)
        predictors = {name: part.model_dump() for name, part in candidate.predictors.items()}
        self._write({"candidate": len(self.found), "score": candidate.score, "predictors": predictors}, "a")

    def begin(self, run: dict[str, Any]) -> None:
        """Write down what the run is of, in a new log."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write({"run": run}, "w")

    def resume(self, run: dict[str, Any]) -> None:
        """Read what an earlier run has found.

        Raises CharlieError when there was none, or one that was begun otherwise. Half a line at the end is nothing.
        """
        try:
            lines = self.file.read_text(encoding="utf-8").splitlines(keepends=True)
            first, *rest = [json.loads(line) for line in lines if line.endswith("\n")]
            begun = first["run"]
            self.found = [
                Candidate({name: SavedPredictor(**part) for name, part in row["predictors"].items()}, row["score"])
                for row in rest
            ]
        except FileNotFoundError as error:
            raise CharlieError("There is no run to go on with.", "Leave --resume out to begin one.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CharlieError(f"The log {self.file} cannot be read.", "Leave --resume out to begin anew.") from error
        if other := [name for name in run if run[name] != begun.get(name)]:
            raise CharlieError(
                f"The run was begun with another {other[0]}: {begun.get(other[0])}, not {run[other[0]]}.",
                "Give the same, or leave --resume out to begin anew.",
            )
        if lines and not lines[-1].endswith("\n"):
            self.file.write_text("".join(lines[:-1]), encoding="utf-8")

    def _write(self, row: dict[str, Any], mode: str) -> None:
        with self.file.open(mode, encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
