"""What an entry tells, what can be asked of it, and what it answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Activity:
    """What somebody did, as "bake bread" and "baked bread", and other words for the same."""

    base: str
    past: str
    others: tuple[tuple[str, str], ...] = ()
    things: tuple[str, ...] = ()
    """What it was done with, under each of its names."""

    @property
    def concept(self) -> str:
        """The same for all its names."""
        return min(self.base, *(base for base, _ in self.others), self.base)


@dataclass(frozen=True, slots=True)
class Facts:
    """What an entry tells; what is None it does not tell."""

    activity: Activity | None = None
    who: str | None = None
    where: str | None = None
    when: str | None = None
    feeling: str | None = None
    mood: str | None = None
    topic: str | None = None
    """What a call was about; then `who` is the one who called."""
    goal: str | None = None
    vehicle: str | None = None
    thing: str | None = None
    """Of a query that names nothing else: what something was done with."""

    @property
    def did(self) -> str:
        """What was done, in the past; nothing in entries of calls and trips."""
        return self.activity.past if self.activity else ""


@dataclass(frozen=True, slots=True)
class Entry:
    text: str
    facts: Facts


class Kind(Enum):
    """What is asked, and by what the entry is known."""

    WHO = auto()
    WHAT_WITH = auto()
    WHAT_WHEN = auto()
    WHAT_WHERE = auto()
    WHEN = auto()
    WHERE = auto()
    FEELING = auto()
    FEELING_WITH = auto()
    CALLER = auto()
    TOPIC = auto()
    VEHICLE = auto()
    GOAL_WHEN = auto()


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answer: str | None
    """Without the citation; None where the entries do not tell."""
    entry: int | None
    """Which entry tells, counted from 0."""


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def yours(text: str) -> str:
    """What "I" did, said to the one who did it: "lost my keys" becomes "lost your keys"."""
    return re.sub(r"\bmy\b", "your", text)


def answer_of(kind: Kind, facts: Facts) -> str | None:
    """What an entry answers to a question of a kind, if it tells that."""
    if not askable(kind, facts):
        return None
    did, who = facts.activity, facts.who
    match kind:
        case Kind.WHO:
            return f"With {who}." if who else None
        case Kind.WHAT_WITH | Kind.WHAT_WHEN | Kind.WHAT_WHERE:
            return f"You {yours(did.past)}." if did else None
        case Kind.WHEN | Kind.GOAL_WHEN:
            return f"{capital(facts.when)}." if facts.when else None
        case Kind.WHERE:
            return f"{capital(yours(facts.where))}." if facts.where else None
        case Kind.FEELING | Kind.FEELING_WITH:
            return f"You felt {facts.feeling}." if facts.feeling else None
        case Kind.CALLER:
            return f"It was {who}."
        case Kind.TOPIC:
            return f"About {yours(facts.topic)}." if facts.topic else None
        case Kind.VEHICLE:
            return f"By {facts.vehicle}."


def askable(kind: Kind, facts: Facts) -> bool:
    """Whether an entry has what a question of this kind names it by."""
    match kind:
        case Kind.WHO | Kind.WHEN | Kind.WHERE | Kind.FEELING:
            return facts.activity is not None
        case Kind.WHAT_WITH:
            return facts.activity is not None and facts.who is not None
        case Kind.FEELING_WITH:
            return facts.who is not None
        case Kind.WHAT_WHEN:
            return facts.activity is not None and facts.when is not None
        case Kind.WHAT_WHERE:
            return facts.activity is not None and facts.where is not None
        case Kind.CALLER:
            return facts.topic is not None and facts.when is not None
        case Kind.TOPIC:
            return facts.topic is not None and facts.who is not None
        case Kind.VEHICLE | Kind.GOAL_WHEN:
            return facts.goal is not None


def same(kind: Kind, one: Facts, other: Facts) -> bool:
    """Whether a question of this kind about one entry could as well be about the other."""
    match kind:
        case Kind.WHO | Kind.WHEN | Kind.WHERE | Kind.FEELING:
            if not one.activity or not other.activity:
                return False
            return one.activity.concept == other.activity.concept
        case Kind.WHAT_WITH | Kind.FEELING_WITH | Kind.TOPIC:
            return one.who == other.who
        case Kind.WHAT_WHEN | Kind.CALLER:
            # "on Friday" is also "on Friday morning"
            return bool(one.when and other.when) and (one.when in other.when or other.when in one.when)  # type: ignore[operator]
        case Kind.WHAT_WHERE:
            return one.where == other.where
        case Kind.VEHICLE | Kind.GOAL_WHEN:
            return one.goal == other.goal


def known_by(kind: Kind, facts: Facts, told: list[Facts]) -> bool:
    """Whether the question means one entry alone."""
    return sum(same(kind, facts, each) for each in told) == 1
