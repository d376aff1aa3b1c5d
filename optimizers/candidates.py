"""The log of an optimization: every candidate program with its score."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import CharlieError
from core.programs.saved import Inert, SavedPredictor


class Candidate(Inert):
    candidate: int
    """From 1, in the order of their evaluation."""
    score: float
    """In percent, on the validation set."""
    predictors: dict[str, SavedPredictor]


@dataclass(slots=True)
class Candidates:
    """Each candidate is logged once, at once."""

    file: Path
    found: list[Candidate] = field(default_factory=list)

    @property
    def best(self) -> Candidate | None:
        """The first candidate with the highest score."""
        return max(self.found, key=lambda each: each.score, default=None)

    def add(self, predictors: dict[str, SavedPredictor], score: float) -> None:
        if all(predictors != each.predictors for each in self.found):
            self.found.append(Candidate(candidate=len(self.found) + 1, score=score, predictors=predictors))
            self._write(self.found[-1].model_dump_json(), "a")

    def start(self, run: dict[str, Any]) -> None:
        """Start a new log with the parameters of the run."""
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(json.dumps({"run": run}), "w")

    def resume(self, run: dict[str, Any]) -> None:
        """Read the candidates of an interrupted run; an incomplete last line is dropped.

        Raises CharlieError when there is no such run, or its parameters were different.
        """
        try:
            first, *rest = (line for line in self.file.read_text("utf-8").splitlines(keepends=True) if line[-1] == "\n")
            started = json.loads(first)["run"]
            self.found = [Candidate.model_validate_json(line) for line in rest]
        except FileNotFoundError as error:
            raise CharlieError("There is no run to resume.", "Leave out --resume to start one.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CharlieError(f"The log {self.file} cannot be read.", "Leave out --resume to start again.") from error
        if other := next((name for name in run if run[name] != started.get(name)), None):
            raise CharlieError(
                f"The run was started with another {other}: {started.get(other)}, not {run[other]}.",
                "Use the same value, or leave out --resume to start again.",
            )
        self.file.write_text(first + "".join(rest), encoding="utf-8")

    def _write(self, line: str, mode: str) -> None:
        with self.file.open(mode, encoding="utf-8") as file:
            file.write(line + "\n")
