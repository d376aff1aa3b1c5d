"""The DSPy programs of the app and the optimizers. DSPy is imported inside the functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

if TYPE_CHECKING:
    import dspy

TITLE_CHARACTERS = 60
THEMES, THEME_CHARACTERS, REFLECTION_CHARACTERS, QUESTION_CHARACTERS = 3, 40, 480, 160


def title_program() -> dspy.Module:
    """`text` -> `title`."""
    import dspy

    return _json_program(
        "Title",
        "Give this diary entry a short title, in its own words.",
        text=(str, dspy.InputField(desc="a diary entry")),
        title=(str, dspy.OutputField(desc="a few words", min_length=1, max_length=TITLE_CHARACTERS)),
    )


def recall_program() -> dspy.Module:
    """`entries` (see `prompts.number_entries`) and `question` -> `citations` (numbers of entries, from 1), `answer`.

    Citations may name entries that do not exist; the caller drops those.
    """
    import dspy

    return _json_program(
        "Recall",
        "Answer the question about the writer's life from these journal entries alone, and cite them.",
        entries=(str, dspy.InputField(desc="journal entries, each after its number")),
        question=(str, dspy.InputField()),
        # First, because a small model must choose the entry before it copies from it.
        citations=(list[int], dspy.OutputField(desc="the numbers of the entries that say so")),
        answer=(str, dspy.OutputField(desc="one or two short sentences")),
    )


def reflection_program() -> dspy.Module:
    """`entries` of a week (see `prompts.number_entries`) -> `themes`, `reflection` and a further `question`."""
    import dspy
    from pydantic import StringConstraints

    theme = Annotated[str, StringConstraints(min_length=1, max_length=THEME_CHARACTERS)]
    return _json_program(
        "Reflection",
        "Look back on the writer's week: name what it was about, say it back in a few sentences, and ask one question.",
        entries=(str, dspy.InputField(desc="the week's journal entries, each after its number")),
        themes=(list[theme], dspy.OutputField(desc="what the week was about", min_length=1, max_length=THEMES)),
        reflection=(str, dspy.OutputField(desc="a few sentences", min_length=1, max_length=REFLECTION_CHARACTERS)),
        question=(str, dspy.OutputField(desc="one question", min_length=1, max_length=QUESTION_CHARACTERS)),
    )


PROGRAMS: Final[dict[str, Callable[[], dspy.Module]]] = {
    "title": title_program,
    "recall": recall_program,
    "reflection": reflection_program,
}


def _json_program(name: str, instructions: str, **fields: Any) -> dspy.Module:
    import dspy

    from core.dspy_lm.adapters import JSONAdapter

    signature = dspy.Signature(fields, instructions, name)

    class JsonProgram(dspy.Module):  # type: ignore[misc]  # dspy is untyped
        """Predicts one JSON object with JSONAdapter, for which the grammar is made, whatever adapter is configured."""

        def __init__(self) -> None:
            super().__init__()
            self.predict = dspy.Predict(signature)

        def forward(self, **inputs: Any) -> Any:
            with dspy.context(adapter=JSONAdapter()):
                return self.predict(**inputs)

    return JsonProgram()
