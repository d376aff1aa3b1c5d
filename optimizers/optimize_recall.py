"""Find instructions and examples for the recall program: `python optimizers/optimize_recall.py --help`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from core.programs import number_entries, recall_program
from optimizers.command import Options, Split, Task, main, room_for_proposals

if TYPE_CHECKING:
    import dspy

    from core.engine import InstructModel

CANDIDATES = 3
"""Instructions, and sets of demonstrations, that MIPROv2 chooses from."""


def example(row: dict[str, Any]) -> Any:
    import dspy

    return dspy.Example(
        question=row["question"],
        entries=number_entries(row["entries"]),
        answer=row["answer"],
        citations=row["citations"],
    ).with_inputs("question", "entries")


def metric(expected: Any, predicted: Any, trace: Any = None) -> float:
    """Half for the right citations, half for the part of the expected words that the answer has.

    While examples are bootstrapped (`trace` is set) only an answer that is wholly right counts.
    """
    wanted = _words(expected.answer)
    found = len(wanted & _words(predicted.answer)) / len(wanted)
    score = 0.5 * (set(predicted.citations) == set(expected.citations)) + 0.5 * found
    return score if trace is None else float(score == 1)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def optimize(program: dspy.Module, split: Split, options: Options, model: InstructModel) -> dspy.Module:
    import dspy

    roomy = room_for_proposals(model)
    optimizer = dspy.MIPROv2(
        metric,
        auto=None,
        num_candidates=CANDIDATES,
        num_threads=1,
        max_bootstrapped_demos=2,
        max_labeled_demos=2,
        seed=options.seed,
    )
    return optimizer.compile(
        program,
        trainset=split.train,
        valset=split.validation,
        num_trials=options.budget,
        minibatch=False,
        program_aware_proposer=roomy,
        data_aware_proposer=roomy,
        fewshot_aware_proposer=roomy,
    )


TASK = Task(
    name="recall",
    optimizer="MIPROv2",
    program=recall_program,
    example=example,
    metric=metric,
    compile=optimize,
    # The training examples are tried for each set of demonstrations but two.
    answers=lambda split, budget: len(split.train) + (budget + 1) * len(split.validation) + CANDIDATES,
    budget=4,
    budget_help="trials: candidate programs to score on the validation examples",
)

if __name__ == "__main__":
    raise SystemExit(main(TASK))
