"""Find few-shot examples for the mood program: `python optimizers/optimize_mood.py --help`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.programs import mood_program
from optimizers.command import Options, Split, Task, main

if TYPE_CHECKING:
    import dspy

    from core.engine import InstructModel


def example(row: dict[str, Any]) -> Any:
    import dspy

    return dspy.Example(text=row["text"], mood=row["mood"]).with_inputs("text")


def metric(expected: Any, predicted: Any, trace: Any = None) -> float:  # noqa: ARG001  # DSPy passes it
    return float(predicted.mood == expected.mood)


def optimize(program: dspy.Module, split: Split, options: Options, model: InstructModel) -> dspy.Module:  # noqa: ARG001
    import dspy

    optimizer = dspy.BootstrapFewShot(metric, max_bootstrapped_demos=4, max_labeled_demos=8)
    examples = [*split.train, *split.validation]
    return optimizer.compile(program, trainset=examples[: options.budget])


TASK = Task(
    name="mood",
    optimizer="BootstrapFewShot",
    program=mood_program,
    example=example,
    metric=metric,
    compile=optimize,
    answers=lambda split, budget: min(budget, len(split.train) + len(split.validation)),
    budget=24,
    budget_help="examples to try as demonstrations",
)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
