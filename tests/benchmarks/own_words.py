"""Scores of the starter with prompts in the words of its training: `python -m tests.benchmarks.own_words`.

The app uses these prompts until a program is in use. Test sets and scores are those of the optimizers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import dspy

from core.llama.engine import InstructModel, load_as
from core.llama.instruct import Message
from core.model_files.spec import resolve
from core.paths import find_paths
from core.programs.prompts import ASK_PROMPT, MOOD_PROMPT, TITLE_PROMPT
from core.roles import Role
from core.settings import Settings
from optimizers import optimize_mood, optimize_recall, optimize_title
from optimizers.scoring import interval
from optimizers.starter.evaluate import answer
from optimizers.task import Task, split
from tests.benchmarks.optimizers import shown

CITED = re.compile(r"\[(\d+)\]\s*")
Ask = Callable[[str, str], str]


def mood(example: Any, ask: Ask) -> dspy.Prediction:
    return dspy.Prediction(mood=ask(MOOD_PROMPT, example.text))


def title(example: Any, ask: Ask) -> dspy.Prediction:
    return dspy.Prediction(title=ask(TITLE_PROMPT, example.text))


def recall(example: Any, ask: Ask) -> dspy.Prediction:
    reply = ask(ASK_PROMPT, f"{example.entries}\n\nQuestion: {example.question}")
    return dspy.Prediction(answer=CITED.sub("", reply), citations=[int(number) for number in CITED.findall(reply)])


ASKED: tuple[tuple[Task, Callable[[Any, Ask], dspy.Prediction]], ...] = (
    (optimize_mood.TASK, mood),
    (optimize_title.TASK, title),
    (optimize_recall.TASK, recall),
)


def main() -> int:
    spec = resolve(Settings(), find_paths(), Role.INSTRUCT)
    model = load_as(InstructModel, spec)

    def ask(prompt: str, text: str) -> str:
        return answer(model, Message("system", prompt), Message("user", text)).strip()

    print("| program | prompts in the words of its training |\n|---|---:|")
    for task, answered in ASKED:
        test = split(task, starter=True, seed=0, most=None).test
        scores = [float(task.score(example, answered(example, ask))) for example in test]
        print(f"| {task.name} | {shown(interval(scores))} |", flush=True)
    model.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
