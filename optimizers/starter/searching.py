"""What the embedding model and the reranker learn from: queries in other words, and the entries that they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from optimizers.starter.facts import Activity, Entry, Facts
from optimizers.starter.phrases import said
from optimizers.starter.tellings import Phrasing
from optimizers.starter.world import World

WITH_WHO = said(
    """
    When did I {base} with {who}?
    {base} with {who}
    {who} {past}
    the day {who} and I {past}
    {who} and I {past}
    {past} with {who}
    Where did {who} and I {base}?
    How was it to {base} with {who}?
    What did {who} say when we {past}?
    """,
    """
    the time when {who} and I {past}
    Find the entry where I {past} with {who}.
    Did I ever {base} with {who}?
    """,
)
WITH_WHERE = said(
    """
    {past} {where}
    Did I {base} {where}?
    {base} {where}
    Who {past} with me {where}?
    When was I {where} and {past}?
    {where}, {past}
    """,
    """
    Find the entry where I {past} {where}.
    the time when I {past} {where}
    """,
)
WITH_WHEN = said(
    """
    {past} {when}
    Did I {base} {when}?
    {base} {when}
    Who {past} with me {when}?
    {when} I {past}
    """,
    """
    Find the entry where I {past} {when}.
    Was it {when} that I {past}?
    """,
)
CALL = said(
    """
    call with {who} about {topic}
    When did {who} call about {topic}?
    {who} on the phone: {topic}
    talked with {who} about {topic}
    """,
    """
    Did {who} phone because of {topic}?
    Find the call with {who} about {topic}.
    """,
)
TRIP = said(
    """
    trip {goal} by {vehicle}
    When did I travel {goal} by {vehicle}?
    took the {vehicle} {goal}
    {vehicle} {goal}
    """,
    """
    Find the day when I went {goal} by {vehicle}.
    the time I got {goal} by {vehicle}
    """,
)


LITTLE = re.compile(r"^((in|at|by|on|to|near|under|behind|through) )?((the|a|an|my|some|two) )?")
"""What a person leaves out who types a word into a search field."""
BRIEF = 0.25
"""The share of training's queries that are a word or two."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A query or a sentence, the facts that it tells, and an entry that it means."""

    query: str
    told: Facts
    entry: Entry


def in_other_words(world: World, activity: Activity) -> Activity:
    """The same activity under another name, where it has one."""
    if not activity.others or not (world.held_out or world.chance(0.7)):
        return activity
    base, past = world.random.choice(activity.others)
    others = (*(each for each in activity.others if each[0] != base), (activity.base, activity.past))
    return Activity(base, past, others, activity.things)


def brief(world: World, facts: Facts) -> tuple[str, Facts] | None:
    """One thing that an entry tells, as a word or two; None where it tells none."""
    found: list[tuple[str, Facts]] = []
    if facts.activity:
        found.append((world.random.choice(facts.activity.things), Facts(thing=facts.activity.things[0])))
        named = in_other_words(world, facts.activity)
        found.append((named.base, Facts(named)))
    if facts.who:
        found.append((facts.who, Facts(who=facts.who)))
    if facts.where:
        found.append((facts.where, Facts(where=facts.where)))
    if facts.topic:
        found.append((facts.topic, Facts(topic=facts.topic)))
    if facts.goal:
        found.append((facts.goal, Facts(goal=facts.goal)))
    if not found:
        return None
    text, told = world.random.choice(found)
    return LITTLE.sub("", text), told


def query(world: World, facts: Facts) -> tuple[str, Facts] | None:
    """A query for an entry that tells these facts, and what it tells of them; None where they are too few."""
    told: Facts
    if facts.topic:
        told, phrasing = Facts(who=facts.who, topic=facts.topic), CALL
    elif facts.goal:
        told, phrasing = Facts(goal=facts.goal, vehicle=facts.vehicle), TRIP
    else:
        details: list[tuple[Facts, Phrasing]] = []
        if facts.who:
            details.append((Facts(facts.activity, who=facts.who), WITH_WHO))
        if facts.where:
            details.append((Facts(facts.activity, where=facts.where), WITH_WHERE))
        if facts.when:
            details.append((Facts(facts.activity, when=facts.when), WITH_WHEN))
        if not details or facts.activity is None:
            return None
        told, phrasing = world.random.choice(details)
        told = replace(told, activity=in_other_words(world, facts.activity))
    named = told.activity
    words = {"base": named.base if named else "", "past": named.past if named else ""}
    slots = ("who", "where", "when", "topic", "goal", "vehicle")
    return world.say(phrasing).format(**words, **{slot: getattr(told, slot) for slot in slots}), told


def retold(world: World, facts: Facts) -> tuple[str, Facts]:
    """The same facts in another sentence."""
    told = replace(facts, activity=in_other_words(world, facts.activity)) if facts.activity else facts
    return world.statement(told), told


def pair(world: World, facts: Facts | None = None) -> Pair:
    """A query and its entry; sometimes two ways to tell the same."""
    while True:
        told = facts or world.facts(world.name())
        draw = 1.0 if world.held_out else world.random.random()
        made = brief(world, told) if draw < BRIEF else retold(world, told) if draw < 2 * BRIEF else query(world, told)
        if made is not None:
            return Pair(*made, world.entry(told, fillers=0.5))


def known_otherwise(world: World) -> Facts:
    """Facts of something that has two names: few have, and what these mean is learned from nothing else."""
    while True:
        facts = world.facts(world.name())
        if facts.activity and len(facts.activity.things) > 1:
            return facts


def near(world: World, facts: Facts) -> Facts:
    """Facts that share one thing with others, so that an entry of them is easily mistaken."""
    other = world.facts(world.name())
    if facts.activity is None or other.activity is None:
        return replace(other, who=facts.who) if other.who and facts.who else other
    if world.chance(0.5):
        return replace(other, activity=facts.activity)
    return replace(other, who=facts.who or other.who, where=facts.where or other.where)


def key(facts: Facts) -> tuple[str | None, ...]:
    """What facts are compared by: an activity is the same under each of its names."""
    did, thing = (facts.activity.concept, facts.activity.things[0]) if facts.activity else (None, facts.thing)
    return (did, thing, facts.who, facts.where, facts.when, facts.topic, facts.goal, facts.vehicle)


def means(told: Facts, facts: Facts) -> bool:
    """Whether a query that tells `told` means an entry of `facts`: all that it tells is so there."""
    return all(one is None or one == other for one, other in zip(key(told), key(facts), strict=True))
