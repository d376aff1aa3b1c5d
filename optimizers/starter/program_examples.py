"""Examples of Charlie's programs in the starter's world: an optimizer measures a starter by them.

The values of a program's fields in their order; for mood and title `lessons` has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.programs.prompts import number_entries
from core.programs.signatures import THEMES
from optimizers.starter import lessons, phrases

if TYPE_CHECKING:
    from optimizers.starter.facts import Facts
    from optimizers.starter.world import World


def recall(world: World) -> tuple[str, str, list[int], str] | None:
    """Entries, a question, the number of the one that answers, and the answer."""
    entries = world.entries(world.random.randint(2, 4))
    question = world.absent(entries) if world.chance(0.2) else world.question(entries)
    if not question:
        return None
    numbered = number_entries(entry.text for entry in entries)
    if question.entry is None or question.answer is None:
        return numbered, question.text, [], phrases.NOT_FOUND
    return numbered, question.text, [question.entry + 1], question.answer


def reflection(world: World) -> tuple[str, list[str], str, str]:
    """A week's entries, what they were about, the same said back, and a question to go on with."""
    entries = world.entries(world.random.randint(2, 4))
    told = [entry.facts for entry in entries[:THEMES]]
    moods = [facts.mood for facts in told if facts.mood]
    return (
        number_entries(entry.text for entry in entries),
        [theme(facts) for facts in told],
        " ".join(lessons.echo(facts) for facts in told),
        lessons.ask(world, moods[0] if moods else None),
    )


def theme(facts: Facts) -> str:
    return facts.topic or facts.goal or facts.did
