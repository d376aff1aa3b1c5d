"""Lessons in the format of DSPy's programs: what is to be done is shown by examples in the prompt.

The fields' names and the instructions are drawn anew each time, so that only the examples tell what is wanted; the
replies from the second on are learned. Charlie's own signatures are not among them: how well those are answered
without examples, and with which, is for the optimizers to find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import dspy

from core.dspy_lm.adapters import JSONAdapter
from core.programs.signatures import MOODS
from optimizers.starter import lessons, program_examples
from optimizers.starter.lessons import Lesson, Span, system, turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from optimizers.starter.world import World

SINGLE = 2
"""Asked behind the first example alone."""
TEXT = ("entry", "note", "day", "said", "passage", "input")
ENTRIES = ("notes", "days", "week", "diary", "lines")
ANY = ("answer", "output", "result", "reply", "found", "value", "line")
INSTRUCTIONS = (
    "Do as the examples do.",
    "Read what is given and answer as shown.",
    "Answer in the way of the examples.",
    "Fill in what is missing.",
    "Say what is asked for.",
)


@dataclass(frozen=True, slots=True)
class Task:
    """What examples show: names that the fields may have, the outputs' types, and how one is made."""

    inputs: tuple[tuple[str, ...], ...]
    outputs: tuple[tuple[str, ...], ...]
    types: tuple[Any, ...]
    make: Callable[[World], tuple[Any, ...] | None]
    """The values of the inputs, then of the outputs."""
    share: int
    most: int
    """Examples in one prompt."""


def summary(world: World) -> tuple[Any, ...]:
    entry = world.entry(world.facts(world.name()))
    return entry.text, lessons.echo(entry.facts)


def person(world: World) -> tuple[Any, ...] | None:
    entry = world.entry(world.facts(world.name()))
    return (entry.text, entry.facts.who) if entry.facts.who else None


TASKS = (
    Task((TEXT,), ((*ANY, "feeling", "label"),), (Literal,), lessons.mood_of, share=3, most=8),
    Task((TEXT,), ((*ANY, "heading", "name"),), (str,), lessons.title_of, share=2, most=5),
    Task((TEXT,), ((*ANY, "gist", "sentence"),), (str,), summary, share=1, most=5),
    Task((TEXT,), ((*ANY, "person", "who"),), (str,), person, share=1, most=5),
    Task(
        (ENTRIES, ("query", "asked", "request")),
        (("numbers", "sources", "places"), (*ANY, "told")),
        (list[int], str), program_examples.recall, share=7, most=3,
    ),
    Task(
        (ENTRIES,),
        (("topics", "points", "parts"), (*ANY, "told"), ("next", "ask", "further")),
        (list[str], str, str), program_examples.reflection, share=5, most=2,
    ),
)  # fmt: skip


def signature_of(world: World, task: Task) -> Any:
    """A dspy.Signature with names and instructions of its own."""
    names: dict[str, None] = {}
    for choice in (*task.inputs, *task.outputs):
        names[world.random.choice([name for name in choice if name not in names])] = None
    # In an order of its own, so that the words are known by what they mean.
    order = tuple(world.random.sample(MOODS, len(MOODS)))
    types = [str] * len(task.inputs) + [Literal[order] if each is Literal else each for each in task.types]
    fields = {
        name: (kind, dspy.InputField(desc=world.noise()) if number < len(task.inputs) else dspy.OutputField(desc=""))
        for number, (name, kind) in enumerate(zip(names, types, strict=True))
    }
    return dspy.Signature(fields, world.random.choice(INSTRUCTIONS))


def lesson(world: World) -> Lesson:
    """Examples in a row and what is asked behind them; the first example is not learned."""
    task = world.random.choices(TASKS, [task.share for task in TASKS])[0]
    signature, adapter = signature_of(world, task), JSONAdapter()

    def example(*, last: bool) -> tuple[Span, Span]:
        while (values := task.make(world)) is None:
            pass
        filled = dict(zip(signature.fields, values, strict=True))
        return turn(
            adapter.format_user_message_content(signature, filled, main_request=last),
            adapter.format_assistant_message_content(signature, filled),
        )

    said, reply = example(last=False)
    beginning = system(adapter.format_system_message(signature)) + said.text + reply.text
    middle = [example(last=False) for _ in range(world.random.randint(0, task.most - 1))]
    branches = [[*middle, example(last=True)], *([example(last=True)] for _ in range(SINGLE))]
    return Lesson(beginning, tuple(_behind(branch) for branch in branches))


def _behind(turns: list[tuple[Span, Span]]) -> tuple[Span, ...]:
    return tuple(each for said, reply in turns for each in (Span("\n" + said.text, learned=False), reply))
