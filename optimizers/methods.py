"""DSPy's optimizers, each with parameters that fit a budget of answers.

Their return values are not used: `optimizers.run` logs every candidate that is evaluated on the validation set, so an
interrupted search has a result too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dspy

from optimizers.task import Method, Split, Task

MIPRO_CANDIDATES = 4
"""Instructions, and sets of examples, from which MIPROv2 chooses."""
SIMBA_BATCH, SIMBA_VARIANTS = 12, 3
"""Examples in a step of SIMBA, and programs made from them."""


@dataclass(frozen=True, slots=True)
class Search:
    """The input of a method."""

    task: Task
    split: Split
    budget: int
    """Approximate number of answers."""
    seed: int
    proposer: dspy.LM
    """Writes instructions: the same model at a higher temperature."""
    evaluate: Callable[[dspy.Module], float]
    """Score on the validation set in percent; logs the candidate."""

    def metric(self, expected: Any, predicted: Any, trace: Any = None) -> float:  # noqa: ARG002  # DSPy passes it
        return self.task.score(expected, predicted)

    def feedback(self, expected: Any, predicted: Any, _trace: Any = None, _name: Any = None, _of: Any = None) -> Any:
        """A score with the expected values; GEPA calls it with five arguments."""
        score = self.task.score(expected, predicted)
        wanted = {key: value for key, value in expected.items() if key not in expected.inputs()}
        return dspy.Prediction(score=score, feedback="Right." if score == 1 else f"Expected: {wanted}")


def _demos(task: Task) -> dict[str, int]:
    """Half of a prompt's examples are the model's own good answers, and all where the data have no whole answers."""
    if not task.labelled:
        return {"max_bootstrapped_demos": task.demos, "max_labeled_demos": 0}
    return {"max_bootstrapped_demos": max(1, task.demos // 2), "max_labeled_demos": task.demos}


def _bootstrap(given: Search, program: dspy.Module) -> None:
    optimizer = dspy.BootstrapFewShot(given.metric, metric_threshold=given.task.good, **_demos(given.task))
    given.evaluate(optimizer.compile(program, trainset=given.split.train[: given.budget]))


def _random_search(given: Search, program: dspy.Module) -> None:
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        given.metric,
        metric_threshold=given.task.good,
        **_demos(given.task),
        # Beside three that it always tries: no examples, only labelled examples, and the first good ones.
        num_candidate_programs=max(1, given.budget // len(given.split.validation) - 3),
        num_threads=1,
    )
    optimizer.compile(program, trainset=given.split.train[: given.budget], valset=given.split.validation)


def _mipro(given: Search, program: dspy.Module) -> None:
    optimizer = dspy.MIPROv2(
        given.metric,
        prompt_model=given.proposer,
        metric_threshold=given.task.good,
        auto=None,
        num_candidates=MIPRO_CANDIDATES,
        num_threads=1,
        seed=given.seed,
        **_demos(given.task),
    )
    optimizer.compile(
        program,
        trainset=given.split.train,
        valset=given.split.validation,
        num_trials=max(1, given.budget // len(given.split.validation) - 1),
        minibatch=False,
        # These would put the program's source and the data into the prompt, which is too long for small contexts.
        program_aware_proposer=False,
        data_aware_proposer=False,
        fewshot_aware_proposer=False,
    )


def _gepa(given: Search, program: dspy.Module) -> None:
    optimizer = dspy.GEPA(
        given.feedback,
        max_metric_calls=given.budget,
        reflection_lm=given.proposer,
        # A small context has room for two examples with their feedback.
        reflection_minibatch_size=2,
        num_threads=1,
        seed=given.seed,
    )
    optimizer.compile(program, trainset=given.split.train, valset=given.split.validation)


def _simba(given: Search, program: dspy.Module) -> None:
    """Run one step at a time, so that each step's program is evaluated; the best is the input of the next step."""
    train, best, reached = given.split.train, program, given.evaluate(program)
    batch = min(SIMBA_BATCH, len(train))
    # A step: the first trials, the variants, and two programs on the whole batch; then the validation set.
    cost = batch * (2 * SIMBA_VARIANTS + 3) + len(given.split.validation)
    for step in range(max(1, given.budget // cost)):
        chosen = [train[(step * batch + place) % len(train)] for place in range(batch)]
        optimizer = dspy.SIMBA(
            metric=given.metric,
            bsize=batch,
            num_candidates=SIMBA_VARIANTS,
            max_steps=1,
            max_demos=given.task.demos,
            prompt_model=given.proposer,
            num_threads=1,
        )
        candidate = optimizer.compile(best, trainset=chosen, seed=given.seed + step)
        if (score := given.evaluate(candidate)) > reached:
            best, reached = candidate, score


SEARCHES: dict[Method, Callable[[Search, dspy.Module], None]] = {
    Method.BOOTSTRAP: _bootstrap,
    Method.RANDOM_SEARCH: _random_search,
    Method.MIPRO: _mipro,
    Method.GEPA: _gepa,
    Method.SIMBA: _simba,
}
"""Each searches for better instructions and examples; `evaluate` logs the candidates."""
